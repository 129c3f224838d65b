"""What no model can beat: exact floors of texts and tokens, the oracle, and the head's own floor."""
