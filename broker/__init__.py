"""The broker's own configuration: its users, and what makes their passwords."""
