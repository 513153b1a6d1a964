"""The commands, one frozen dataclass each: parse, call one room, print."""
