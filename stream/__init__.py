"""Events in, knowledge out: the dataflows that keep states, triggers and online models up to date."""
