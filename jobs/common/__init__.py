"""What jobs share. Nothing here imports a job."""
