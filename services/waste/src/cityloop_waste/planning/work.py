"""What the pool's process runs: `cityloop_waste.planning.work:solve`.

JSON in: `{problem, roads?, matrix?, solutions?}`

- `problem`: a document of `problem_json.ProblemBody`'s form (`problem_json.write(problem)`); `options.seconds` is the search's time.
- `roads`: GeoJSON FeatureCollection of LineStrings (`roads.domain.read_roads`): matrices are made from it in the process.
- `matrix`: `{distance_m, duration_s}` instead of roads: rows and columns are depot, stops, sites in the problem's order
  (`problem.positions()`); whole numbers or "unreachable" (`roads.domain.read_travel`). Neither of the two: great-circle
  estimates, labelled so. Both: refused.
- `solutions`: end the search after as many solutions (tests; a time limit alone is not repeatable).

Progress, at most four a second: `{elapsed_s, solutions, distance_m, vehicles, unserved}`, of the best plan so far.

JSON out, only after the verifier accepted the plan from the problem and the matrices::

    {stream, travel: "graph" | "estimate" | "given", vehicles, cost: {distance_m, duration_s},
     routes: [{truck, distance_m, duration_s,
               visits: [{kind: "depot-start" | "stop" | "unload" | "depot-end", id (stop or site; null at the depot),
                         arrival_s, start_s, departure_s, load_kg, load_dm3 (on board when it leaves)}]}],
     unserved: [{stop, reason}],     # reasons: domain.Reason
     verified: true, seconds, ended: "time" | "asked" | "complete"}

Raises InvalidProblem, InvalidRoads, InvalidTravel, BadPosition, NoPlanFound, PlanRefused; through the pool they are WorkRaised with
`<class>: <detail>` as the text. Time beyond `options.seconds`: about 1 s to start, 3 s to build 1,000 stops; `kill_after_s` = seconds + 30.
"""
