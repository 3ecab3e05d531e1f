"""How, when and where the data products are made: resources, jobs, schedules, sensors, commands."""
