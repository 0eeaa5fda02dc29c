"""Alarms: signs that training goes wrong, found in what is logged and drawn anyway."""
