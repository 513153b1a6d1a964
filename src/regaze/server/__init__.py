"""The expert's page, served to the machine that it runs on: `regaze serve`."""
