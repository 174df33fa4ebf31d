"""A simulated super-app: seeded customers whose events feed the playbook `superapp`."""
