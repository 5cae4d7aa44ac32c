"""The numbers, dates and times of an English answer, compared by value."""
