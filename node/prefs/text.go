package prefs

// Text is the file as it is written for a node that has none: it changes nothing.
const Text = `# What this machine gives to the grid. Take away the # of a line to change it. The node
# reads this file again within a second of each change; one with a mistake in it changes
# nothing, and dugnad node prefs show says where the mistake is.

# Processor time for guests: cores, or a part of one such as 25%. Also as fuel per second.
#cores: 2
#fuel: 4G

# Memory for guests together, and less of it while others use the machine.
#memory: 8GiB
#memory_in_use: 2GiB

# Disk for objects of the grid.
#disk: 10GiB

# What the grid's users may move over the network here, per second: objects (modules,
# inputs, results and their copies), HTTP of guests, the API of this node for other
# machines. 0 is no bound, 64KiB the least. The grid's own messages are never held up.
#download: 10MiB
#upload: 5MiB

# When this machine gives anything: always, never, or spans of the clock on the wall, by
# monday to sunday, weekdays, weekend and every_day. Days that are not named: never.
#timezone: Europe/Oslo
#hours:
#  weekdays: 18:00-08:00
#  weekend: always

# When the machine is switched off: what could last into these hours is not begun.
#power_off:
#  every_day: 23:30-06:00

# The machine is in use when other programs take more of all processors than this.
# With only_when_idle guests are frozen then, within two seconds.
#idle_below: 25%
#only_when_idle: true

# Whether guests go on while the machine runs on its battery.
#on_battery: false

# How long guests are frozen before they are handed to other nodes.
#hand_back: 1m

# What guests may do beside computing, of what dugnad up allows at all (--allow-http); [] is nothing.
#capabilities: [http]

# Whose tasks may run here, and whose may not.
#tenants:
#  allow: [acme]
#  deny: [other]

# Which jobs may run here by their labels (dugnad run --label), and which may not: a name,
# or a name with a value. With allow, a job needs one of these.
#labels:
#  allow: [purpose=research, team]
#  deny: [purpose=mining]
`
