"""The rules: chain config, forks, and one plain function per rule over small evidence. Nothing else decides a rule."""
