"""The engines that use pyoci: what each has to be told, and whether it knows already (`pyoci setup`, `pyoci doctor`)."""
