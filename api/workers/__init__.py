"""What the processes do: `workerStatus` and its subscription."""
