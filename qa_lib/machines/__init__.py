"""What jobs run on: devices and what they can do, Ray, allocation and memory."""
