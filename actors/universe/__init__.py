"""The static universe: types, systems, regions and so on, from CCP's archive of static data."""
