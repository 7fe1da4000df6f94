package jobspec

// docs says what each field of a job file is for, by its path. The schema shows
// it, and with it editors.
var docs = map[string]string{
	"kind":        "What becomes of the job: job runs its tasks once, cron submits such a job at each time of its schedule, daemon keeps one running on every node that meets the constraints.",
	"name":        "A name for people. The task finds it as its first argument.",
	"module":      "The WebAssembly module: a file, which is uploaded, or sha256:HEX.",
	"count":       "How many tasks: an array of tasks when above 1. {index} in arguments and variables, and DUGNAD_TASK_INDEX, tell a task its number, from 0.",
	"args":        "Arguments after the program's name. {index}, {count}, {job} and {attempt} stand for the task's own.",
	"env":         "Variables of the environment. {index}, {count}, {job} and {attempt} in a value stand for the task's own.",
	"secrets":     "Variables of the environment with the values of the tenant's secrets: VARIABLE: NAME of what dugnad secret set has kept. A task gets the value that is there when its attempt starts.",
	"real_clock":  "Give tasks the node's clocks instead of one that is the same in every run.",
	"real_random": "Give tasks the node's randomness instead of a stream that depends on seed alone.",
	"seed":        "Selects the deterministic random stream.",
	"priority":    "The band: a larger one goes first, and a tenant may not be allowed all.",
	"spread":      "Spread tasks over the values of this label, or over operators with the word operator.",

	"stdin":        "What tasks read from stdin.",
	"stdin.path":   "A local file, which is uploaded when the job is submitted.",
	"stdin.object": "The object, by the hash of its bytes.",
	"stdin.job":    "What a job has put out, one task after another; that job has to have succeeded, as with after.",
	"stdin.stream": "Which stream of the job: stdout when left out, or stderr.",
	"stdin.lines":  "Give each task its share of the lines, in order.",

	"inputs":          "Files and folders that tasks see, read-only, at /input/NAME.",
	"inputs[]":        "One file or folder.",
	"inputs[].name":   "The name below /input.",
	"inputs[].path":   "A local file or folder, which is uploaded when the job is submitted.",
	"inputs[].object": "The object, by the hash of its bytes.",
	"inputs[].job":    "What a job has put out, one task after another, as one file; that job has to have succeeded, as with after.",
	"inputs[].stream": "Which stream of the job: stdout when left out, or stderr.",
	"inputs[].lines":  "Give each task its share of the lines, in order.",
	"inputs[].folder": "The path is a folder, the object a tar archive of one.",

	"limits":               "What each attempt may use. A larger limit makes a task harder to place.",
	"limits.fuel":          "Fuel: work, the same on every machine. All tasks' fuel is reserved when the job is submitted; left out, an array of more than 10,000 tasks shares what 10,000 would have.",
	"limits.memory":        "Linear memory and tables together.",
	"limits.timeout":       "Time of one attempt from start to end.",
	"limits.output":        "Bytes of stdout and stderr together.",
	"limits.scratch":       "Bytes in the task's own files.",
	"limits.scratch_files": "Number of the task's own files and folders.",
	"limits.stack":         "Stack that calls may nest into.",
	"limits.open_files":    "Files open at the same time.",

	"retry":             "Which attempts are repeated, and when.",
	"retry.attempts":    "How often a task is tried that fails by itself.",
	"retry.losses":      "How many attempts of a task may be lost with their node.",
	"retry.backoff":     "Wait before the second attempt; it doubles with each further one.",
	"retry.backoff_max": "The longest such wait.",
	"retry.loss_grace":  "How long a task may go on at a node that is silent before it is queued again.",
	"retry.on":          "Outcomes after which to try again; without it, all that another attempt could change. exit is every exit code but 0, exit:N one of them.",
	"retry.spare":       "Whether a task of an array that takes much longer than the others gets a second attempt on another node, when there is room: whichever ends first counts, the fuel of both is used.",

	"deadlines":       "Bounds in time beside limits.timeout; none when left out.",
	"deadlines.queue": "The longest wait for the first placement.",
	"deadlines.total": "The longest time from submitting to the end of the job.",

	"constraints":        "What a node must be like; all must be met.",
	"constraints.labels": "Labels of the node: zone: oslo, zone: \"!oslo\" for any other, zone: \"!\" for none at all; a list of such values; or a list of zone=oslo, zone!=oslo, !zone.",
	"labels":             "What the job is, in words that are between tenants and operators: purpose: research. Operators let jobs in, or keep them away, by label.",
	"capabilities":       "What tasks may do beyond computing: http lets them make HTTP requests. The tenant needs it, and only nodes whose operators allow it are taken.",
	"http":               "Which of the HTTP requests that are allowed at all the tasks may make.",
	"http.hosts":         "The hosts: names, *.NAME for every name below one, addresses. Left out, any host of the public internet.",

	"constraints.features": "What the node's runtime must offer.",

	"after":           "Jobs that must have ended before this one is queued: a list of ids, or jobs with a condition. Jobs whose outputs are read need not be named.",
	"after.condition": "succeeded: all of them have; finished: all have ended, however; any: one of them has, and the others need not be waited for. When that cannot come about any more, the job is killed.",

	"retention": "How long the job is kept when it has ended, with its results.",

	"schedule": "When a cron job runs: minute, hour, day, month and weekday as in a crontab, or a word such as @daily.",
	"timezone": "Time zone of the schedule, such as Europe/Oslo; UTC when left out.",
	"overlap":  "What happens when the job of an earlier time has not ended: skip (when left out), queue, replace or allow.",
	"catch_up": "Which times are made up for that passed while nobody could see them: none (when left out), one or all.",
}
