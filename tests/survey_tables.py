"""Small tables that the tests of the survey share."""
import pandas as pd

from urbanrivers_camtraps.survey.effort import CameraOperation, camera_operation

TIME_ZONE = 'America/Chicago'


def local(time: str) -> pd.Timestamp:
    "Return a time by the clocks of Chicago."
    return pd.Timestamp(time, tz=TIME_ZONE)


def deployments_of(*rows: tuple) -> pd.DataFrame:
    "Return deployments by (deployment, location, start, end), local time."
    table = pd.DataFrame(rows, columns=['deployment_id', 'location_id', 'start', 'end'])
    start, end = (pd.to_datetime(table[o].map(local, na_action='ignore'), utc=True) for o in ('start', 'end'))
    return table.assign(location='at ' + table.location_id, latitude=41.9, longitude=-87.65, start=start, end=end)


def operation_of(*rows: tuple, **options) -> CameraOperation:
    "Return the camera operation of such deployments."
    return camera_operation(deployments_of(*rows), time_zone=TIME_ZONE, **options)


def outages_of(*rows: tuple) -> pd.DataFrame:
    "Return outages by (deployment, start, end), without a time zone; a day stands for its beginning, also at the end."
    table = pd.DataFrame(rows, columns=['deployment_id', 'start', 'end'])
    return table.assign(end=table.end.map(lambda o: o if 'T' in o or ':' in o else f'{o} 00:00', na_action='ignore'))


def events_of(*rows: tuple) -> pd.DataFrame:
    "Return events by (deployment, label, start), local time."
    table = pd.DataFrame(rows, columns=['deployment_id', 'label', 'start'])
    return table.assign(event_id=[f'e{o}' for o in range(len(table))], start=pd.to_datetime(table.start.map(local, na_action='ignore'), utc=True))


def baci_of(counts: dict[str, tuple[int, int]]) -> tuple[pd.DataFrame, CameraOperation, pd.DataFrame]:
    "Return events, camera operation and arms of locations watched for ten weeks before and after 1 July; W is a wetland."
    operation = operation_of(*((o, o, '2025-04-22', '2025-09-09') for o in counts))
    events = events_of(*((o, 'Anas', day) for o, pair in counts.items()
                         for day, times in zip(('2025-05-01', '2025-08-01'), pair) for _ in range(times)))
    return events, operation, pd.DataFrame({'location_id': list(counts), 'arm': ['impact' if o[0] == 'W' else 'control' for o in counts]})
