"""The signals of the telemetry contract that have a typed column of their own in silver.telemetry.

Signal names are python-OBD's command names, plus the few that the contract adds. Units are those in which
python-OBD returns the value (its `decoders`), VSS paths are of COVESA VSS 6, PIDs of SAE J1979. A signal that is
not listed here is kept in `extra_signals`.
"""

from smartdrive_dagster.tables.table import Column

_ENGINE = "Vehicle.Powertrain.CombustionEngine"


def _signal(
    signal: str,
    name: str,
    description: str,
    unit: str | None = None,
    pid: str | None = None,
    vss: str | None = None,
) -> Column:
    return Column(name, "double", description, unit=unit, vss=vss, pid=f"01 {pid}" if pid else None, signal=signal)


SIGNALS: tuple[Column, ...] = (
    _signal("RPM", "engine_speed_rpm", "Engine speed", "rpm", "0C", f"{_ENGINE}.Speed"),
    _signal("SPEED", "speed_kmh", "Vehicle speed", "km/h", "0D", "Vehicle.Speed"),
    _signal(
        "ELM_VOLTAGE",
        "adapter_voltage_v",
        "Battery voltage as the adapter measures it at the port",
        "V",
        None,
        "Vehicle.LowVoltageBattery.CurrentVoltage",
    ),
    _signal(
        "CONTROL_MODULE_VOLTAGE",
        "control_module_voltage_v",
        "Supply voltage of the engine control unit",
        "V",
        "42",
        "Vehicle.OBD.ControlModuleVoltage",
    ),
    _signal("IGNITION", "ignition", "Ignition: 1 on, 0 off", None, None, "Vehicle.LowVoltageSystemState"),
    _signal("ENGINE_LOAD", "engine_load_pct", "Calculated engine load", "%", "04", "Vehicle.OBD.EngineLoad"),
    _signal("ABSOLUTE_LOAD", "absolute_load_pct", "Absolute load value", "%", "43", "Vehicle.OBD.AbsoluteLoad"),
    _signal(
        "COOLANT_TEMP",
        "coolant_temp_c",
        "Engine coolant temperature",
        "°C",
        "05",
        f"{_ENGINE}.EngineCoolant.Temperature",
    ),
    _signal("INTAKE_TEMP", "intake_temp_c", "Intake air temperature", "°C", "0F", "Vehicle.OBD.IntakeTemp"),
    _signal(
        "AMBIANT_AIR_TEMP",
        "ambient_air_temp_c",
        "Ambient air temperature (python-OBD spells the command AMBIANT)",
        "°C",
        "46",
        "Vehicle.Exterior.AirTemperature",
    ),
    _signal("OIL_TEMP", "oil_temp_c", "Engine oil temperature", "°C", "5C", f"{_ENGINE}.EngineOil.Temperature"),
    _signal(
        "CATALYST_TEMP_B1S1",
        "catalyst_temp_b1s1_c",
        "Catalyst temperature, bank 1 sensor 1",
        "°C",
        "3C",
        "Vehicle.OBD.Catalyst.Bank1.Temperature1",
    ),
    _signal(
        "SHORT_FUEL_TRIM_1",
        "short_fuel_trim_1_pct",
        "Short term fuel trim, bank 1",
        "%",
        "06",
        "Vehicle.OBD.ShortTermFuelTrim1",
    ),
    _signal(
        "LONG_FUEL_TRIM_1",
        "long_fuel_trim_1_pct",
        "Long term fuel trim, bank 1",
        "%",
        "07",
        "Vehicle.OBD.LongTermFuelTrim1",
    ),
    _signal("FUEL_PRESSURE", "fuel_pressure_kpa", "Fuel pressure", "kPa", "0A", "Vehicle.OBD.FuelPressure"),
    _signal(
        "INTAKE_PRESSURE",
        "intake_pressure_kpa",
        "Intake manifold absolute pressure",
        "kPa",
        "0B",
        f"{_ENGINE}.MAP",
    ),
    _signal(
        "BAROMETRIC_PRESSURE",
        "barometric_pressure_kpa",
        "Barometric pressure",
        "kPa",
        "33",
        "Vehicle.OBD.BarometricPressure",
    ),
    _signal(
        "TIMING_ADVANCE",
        "timing_advance_deg",
        "Ignition timing before top dead centre",
        "°",
        "0E",
        "Vehicle.OBD.TimingAdvance",
    ),
    _signal("MAF", "maf_gps", "Mass air flow", "g/s", "10", f"{_ENGINE}.MAF"),
    _signal("THROTTLE_POS", "throttle_pos_pct", "Throttle position", "%", "11", f"{_ENGINE}.TPS"),
    _signal(
        "RELATIVE_THROTTLE_POS",
        "relative_throttle_pos_pct",
        "Throttle position relative to its learned rest",
        "%",
        "45",
        "Vehicle.OBD.RelativeThrottlePosition",
    ),
    _signal(
        "ACCELERATOR_POS_D",
        "accelerator_pos_d_pct",
        "Accelerator pedal position D",
        "%",
        "49",
        "Vehicle.OBD.AcceleratorPositionD",
    ),
    _signal("FUEL_LEVEL", "fuel_level_pct", "Fuel level in the tank", "%", "2F", "Vehicle.OBD.FuelLevel"),
    _signal("FUEL_RATE", "fuel_rate_lph", "Engine fuel rate", "L/h", "5E", "Vehicle.OBD.FuelRate"),
    _signal("FUEL_TYPE", "fuel_type_code", "Fuel type as SAE J1979 codes it", None, "51", "Vehicle.OBD.FuelType"),
    _signal(
        "ETHANOL_PERCENT",
        "ethanol_pct",
        "Share of ethanol in the fuel",
        "%",
        "52",
        "Vehicle.OBD.EthanolPercent",
    ),
    _signal(
        "COMMANDED_EQUIV_RATIO",
        "commanded_equivalence_ratio",
        "Commanded air-fuel equivalence ratio",
        None,
        "44",
        "Vehicle.OBD.CommandedEquivalenceRatio",
    ),
    _signal("COMMANDED_EGR", "commanded_egr_pct", "Commanded EGR", "%", "2C", "Vehicle.OBD.CommandedEGR"),
    _signal("RUN_TIME", "run_time_s", "Time since engine start", "s", "1F", "Vehicle.OBD.RunTime"),
    _signal(
        "DISTANCE_W_MIL",
        "distance_w_mil_km",
        "Distance driven with the malfunction lamp on",
        "km",
        "21",
        "Vehicle.OBD.DistanceWithMIL",
    ),
    _signal(
        "DISTANCE_SINCE_DTC_CLEAR",
        "distance_since_dtc_clear_km",
        "Distance driven since the codes were cleared",
        "km",
        "31",
        "Vehicle.OBD.DistanceSinceDTCClear",
    ),
    _signal("ODOMETER", "odometer_km", "Odometer of the vehicle", "km", "A6", "Vehicle.TraveledDistance"),
    _signal(
        "HYBRID_BATTERY_REMAINING",
        "hybrid_battery_remaining_pct",
        "Remaining charge of the hybrid battery",
        "%",
        "5B",
        "Vehicle.OBD.HybridBatteryRemaining",
    ),
    _signal("LATITUDE", "latitude_deg", "Latitude, WGS 84", "°", None, "Vehicle.CurrentLocation.Latitude"),
    _signal("LONGITUDE", "longitude_deg", "Longitude, WGS 84", "°", None, "Vehicle.CurrentLocation.Longitude"),
    _signal(
        "ACCEL_X",
        "accel_x_mps2",
        "Acceleration along the vehicle, forward positive",
        "m/s²",
        None,
        "Vehicle.Acceleration.Longitudinal",
    ),
    _signal(
        "ACCEL_Y",
        "accel_y_mps2",
        "Acceleration across the vehicle, left positive",
        "m/s²",
        None,
        "Vehicle.Acceleration.Lateral",
    ),
)

COLUMN_OF_SIGNAL: dict[str, str] = {column.signal: column.name for column in SIGNALS if column.signal}
