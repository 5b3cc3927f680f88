"""Prints new passwords as lines of an environment file: `python -m broker > FILE`."""

from broker.users import environment, new_passwords

if __name__ == "__main__":
    for name, value in environment(new_passwords()).items():
        print(f"{name}={value}")
