import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leonids.errors import UsageError
from leonids.ledger.manifest import REDACTED, code_digest, describe, manifest_bytes, redacted


@given(
    st.sampled_from(["HF_TOKEN", "WANDB_API_KEY", "api_key", "aws_secret", "Password", "auth_token", "SIGNING_KEY"]),
    st.text(min_size=1),
)
def test_a_secret_is_redacted_wherever_it_is_nested(name, value):
    assert redacted({"env": [{"inner": {name: value}}]}) == {"env": [{"inner": {name: REDACTED}}]}


@pytest.mark.parametrize("text", ["hf_" + "a1B2" * 8, "key is sk-" + "x" * 40, "ghp_" + "Z" * 36])
def test_a_secret_is_recognised_by_its_form(text):
    assert REDACTED in redacted([text])[0]
    assert text not in manifest_bytes({"x": text}).decode()


@pytest.mark.parametrize(
    "config",
    [{"tokens": "answer", "eos_token": "<|end|>", "key_order": 0.1, "pad_token_id": 3, "keys": ["a"], "mask-sk": "a"}],
)
def test_a_configuration_is_kept_as_it_is(config):
    assert redacted(config) == config


def test_a_manifest_says_what_made_the_run():
    manifest = describe({"rank": 8}, universe_digest="ab", device="cpu", packages=["rfc8785", "no-such-package"])
    assert json.loads(manifest_bytes(manifest)) == manifest
    assert manifest["packages"]["no-such-package"] is None
    assert manifest["packages"]["rfc8785"]
    assert manifest["code_digest"] == code_digest()
    assert {"config", "universe_digest", "device", "python", "platform"} <= set(manifest)


@pytest.mark.parametrize("bad", [math.nan, {1, 2}, object()])
def test_a_manifest_that_is_not_json_is_refused(bad):
    with pytest.raises(UsageError, match="manifest"):
        manifest_bytes({"x": bad})
