"""What a job runs on: devices and what they can do, Ray, and what is asked of a cluster."""
