"""The lake watched from outside: what is wrong, found without a running orchestrator.

facts    what is looked at: listing, tables, heartbeats
findings what follows from it: pure decisions
command  `smartdrive status`
"""
