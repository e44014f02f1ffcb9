"""The native engine against Wireshark's dissectors: two readings of the same bytes, made without knowing of each other."""
