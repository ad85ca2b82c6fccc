"""The sample data of the R package camtrapR: 68 photographs of three stations in Sabah, Borneo, and their stations.

Data: J. Niedballa and others, camtrapR (GPL >= 2), https://github.com/jniedballa/camtrapR. Station, species and time of each photograph are in the names of
its sample images (`inst/pictures/sample_images`, as listed by the file MD5 on CRAN, version 0.99), the stations in the table `camtraps` that vignette 3 prints.
PBE: leopard cat; VTA: Malay civet; MNE: pig-tailed macaque; EGY: moonrat; TRA: mouse-deer; UNID: not identified.
"""
import pandas as pd

from urbanrivers_camtraps.survey.effort import CameraOperation, camera_operation
from urbanrivers_camtraps.survey.events import make_events

TIME_ZONE = 'Asia/Kuala_Lumpur'
#: Station and species → times in 2009, one for each photograph; the cameras write whole minutes.
PHOTOGRAPHS = {
    'StationA PBE': '04-21 00:40, 04-22 20:19, 04-22 20:21, 04-23 00:07, 04-23 00:09, 05-07 17:11',
    'StationA VTA': '04-10 05:07, 05-06 19:06',
    'StationB MNE': '04-15 07:21, 04-15 07:23, 04-28 17:47, 04-28 17:47, 04-28 17:48, 04-28 17:48, 04-28 17:48, 04-28 17:49, 04-28 17:49, 04-28 17:49',
    'StationB PBE': '04-05 00:11, 04-05 23:13, 04-07 00:23, 04-10 04:07, 04-10 04:08, 04-14 06:13, 04-24 22:54, 04-25 04:33, 04-25 04:33, 05-14 02:11',
    'StationB UNID': '05-07 18:45',
    'StationB VTA': '04-15 19:12, 04-27 05:07',
    'StationC EGY': '04-06 03:49, 04-12 20:26, 04-12 20:26, 04-23 02:25, 04-23 02:27, 04-25 03:09, 04-27 00:17, 05-02 03:35, 05-02 03:36',
    'StationC PBE': '04-06 03:00, 04-06 03:00, 04-14 23:30, 04-14 23:30, 04-18 22:57, 04-23 03:33, 04-23 03:34, 05-05 18:24, 05-05 18:25, 05-07 18:47',
    'StationC TRA': '04-11 21:44, 04-11 21:46, 04-11 21:46, 04-13 22:38, 04-13 22:38, 04-14 00:18, 04-14 00:18, 04-24 19:26, 04-24 19:27, 04-27 00:19, '
                    '04-27 00:20, 05-01 20:10, 05-01 20:12, 05-02 00:10, 05-02 00:11, 05-12 02:32, 05-12 02:34',
    'StationC VTA': '04-24 02:57'}
#: Station, day of set-up, day of retrieval.
STATIONS = [('StationA', '2009-04-02', '2009-05-14'), ('StationB', '2009-04-03', '2009-05-16'), ('StationC', '2009-04-04', '2009-05-17')]


def photographs() -> pd.DataFrame:
    "Return the 68 photographs."
    rows = [(*key.split(), f'2009-{time.strip()}') for key, times in PHOTOGRAPHS.items() for time in times.split(',')]
    table = pd.DataFrame(rows, columns=['deployment_id', 'label', 'timestamp'])
    return table.assign(media_id=[f'm{o:02}' for o in range(len(table))], timestamp=pd.to_datetime(table.timestamp).dt.tz_localize(TIME_ZONE))


def events(event_gap: str = '1s') -> pd.DataFrame:
    "Return them as events; by default photographs of one minute are one, as camtrapR removes duplicates."
    return make_events(photographs(), event_gap, by='deployment')


def operation(setup: str = ' 12:00', retrieval: str = ' 12:00', outages: pd.DataFrame | None = None) -> CameraOperation:
    "Return the camera operation. camtrapR takes a date without an hour for noon; an empty hour means the whole day here."
    table = pd.DataFrame(STATIONS, columns=['deployment_id', 'start', 'end'])
    hours = [[o]*3 if isinstance(o, str) else o for o in (setup, retrieval)]
    table = table.assign(start=table.start + pd.Series(hours[0]), end=table.end + pd.Series(hours[1]))
    return camera_operation(table, outages, time_zone=TIME_ZONE)


def problem(start: str = '2009-05-12', end: str = '2009-05-17') -> pd.DataFrame:
    "Return the malfunction of station C."
    return pd.DataFrame({'deployment_id': ['StationC'], 'start': [start], 'end': [end]})
