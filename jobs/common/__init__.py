"""Code that jobs share. Nothing here imports a job."""
