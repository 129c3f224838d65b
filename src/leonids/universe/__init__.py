"""LEO: consistent universes. What is asked, how it is written, and with which probability."""
