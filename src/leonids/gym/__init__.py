"""Tasks that LEO did not make: reasoning-gym's, asked in a universe's answer format and scored strictly."""
