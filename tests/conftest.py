"""What every test shares: how hypothesis searches. Fixtures live beside the tests that use them."""

import os

from hypothesis import settings

# No deadline: a test that depends on how busy the machine is fails for no reason. On CI the search is the same
# every time, so that a red run means the change under test.
settings.register_profile("leonids", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("leonids")
