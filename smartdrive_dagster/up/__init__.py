"""`smartdrive up`: what a home runs, as one supervised group of processes.

`programs` is the table of what runs, `files` where its state lies, `preflight` what must hold before anything
starts, `supervisord` how it is handed over. `prober` runs beside the programs: `probes` look, `watch` decides,
`health` tells.
Nothing here imports Dagster or the edge: they are other processes.
"""
