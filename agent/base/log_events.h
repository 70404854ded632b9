/* SPDX-License-Identifier: MIT
 *
 * Every event of the log: EVENT(name, level, fields, happened, advice). The log's names and levels are made from this
 * table, and so is spoa-llm-events(7): the log takes no event that does not stand here, and each has an explanation.
 *
 * - `fields`: the keys that a line of the event may have; tests/tools/events.py compares them with the code.
 * - `happened`, `advice`: what happened, and what to do about it, in whole sentences for an operator; `advice` is ""
 *   where nothing needs to be done. dist/manual prints words in backticks in bold.
 * - This file is included several times, each time with another EVENT, and therefore has no guard. */
/* clang-format off */

/* ---- the life of the agent and of its processes */
EVENT(listening, INFO, "address for",
      "The agent or the tap opened this address, or the agent got it from systemd. `for` says what comes in there: "
      "HAProxy's questions (`SPOP`), log lines, reports of the tap, what the shipper says, requests to the admin server "
      "(`admin`), or streams for the tap.",
      "")
EVENT(ready, INFO, "version routes threads",
      "A worker process answers HAProxy. `routes` counts the routes that are enabled.",
      "")
EVENT(reloaded, INFO, "routes by",
      "SIGHUP or `POST /reload` (`by` says which) read the configuration again, and it is in use. `routes` counts the "
      "routes that are enabled. The events `routes_changed`, `clients_changed` and `options_changed` say what is "
      "different now.",
      "")
EVENT(routes_changed, INFO, "file by added removed changed order",
      "A reload put other routes in force, which are named: those that were added, removed (or are not enabled any more) and changed. `order` says whether the others stand in another order, which matters because the first match wins. "
      "`file` is the configuration file, `by` what asked for the reload.",
      "")
EVENT(options_changed, INFO, "by options",
      "A reload put other values of `options` in force.",
      "")
EVENT(reload_failed, ERROR, "problem by instead",
      "SIGHUP or `POST /reload` (`by` says which) read the configuration again, and it has an error: `problem` has file, line and "
      "column. Nothing changed: the old configuration stays in use.",
      "Fix the configuration, try it with `spoa-llm check`, and reload again.")
EVENT(not_reloaded, WARN, "option hint",
      "A reload found a new value of `option`, which only a new process takes. The old value stays in use.",
      "Upgrade (SIGUSR2, to the same binary if you like) or restart.")
EVENT(stopping, INFO, "signal",
      "The agent was told to stop. It answers what HAProxy has sent, then ends.",
      "")
EVENT(stopped, INFO, "version",
      "A worker process ended as it was asked to.",
      "")
EVENT(draining, INFO, "seconds connections",
      "SIGUSR1 was received. HAProxy is told, connection by connection, to go elsewhere; the process ends when the "
      "last has left, or after `seconds`.",
      "")
EVENT(start_failed, ERROR, "problem",
      "The agent could not start: an address is taken, a directory is missing, or the system refuses something. "
      "`problem` says which.",
      "Fix what `problem` names, and start again.")
EVENT(worker_started, INFO, "pid restarts",
      "The master started a worker process, which found its configuration good. `restarts` counts crashes so far.",
      "")
EVENT(worker_start_failed, ERROR, "problem",
      "The master could not start a worker process, for lack of memory or processes or because the binary cannot be"
      " executed. If an earlier start succeeded, the master tries again; otherwise the agent ends.",
      "Fix what `problem` names.")
EVENT(worker_crashed, ERROR, "pid signal exit_code restarts in_ms instead",
      "A worker process ended without being asked to, by `signal` or with `exit_code`. The master starts another "
      "one in `in_ms` milliseconds. HAProxy refuses requests until that one is ready.",
      "Report it, with the lines before it. If it happens again and again, also go back to the version before.")
EVENT(worker_stuck, ERROR, "pid seconds problem hint",
      "A worker process did nothing for `seconds`: a thread of it hung, or it did not become ready, or it did not "
      "go on after an upgrade that failed. The master killed it and starts another one.",
      "Look for a disk or a file system that hangs. Where the machine is just slow, raise `watchdog`.")
EVENT(worker_killed, WARN, "pid problem",
      "A worker process did not end in time after SIGTERM or after an upgrade. The master killed it.",
      "If it happens often: look for a disk that hangs.")
EVENT(worker_unkillable, ERROR, "pid problem instead hint",
      "SIGKILL did not end a worker process within 5 seconds, because it waits inside the kernel. The master goes "
      "on without it.",
      "Look for a disk or a file system that hangs.")
EVENT(control_failed, ERROR, "pid problem",
      "The socket between the master and a worker process broke. The worker process is replaced.",
      "Report it, with the lines before it.")
EVENT(master_deaf, WARN, "problem instead",
      "A worker process could not tell the master process something, because the master reads nothing. The worker "
      "goes on with its decisions. Logged once, until the master reads again.",
      "See what holds the master process up: somebody may have stopped it (SIGSTOP).")
EVENT(socket_not_kept, WARN, "pid most problem",
      "The agent listens on more sockets than the master can hold (`most`). Each socket beyond those is closed for a "
      "moment whenever the worker process is replaced.",
      "Use fewer addresses in `listen`, `log_listen` and `admin_listen`.")

EVENT(socket_unused, WARN, "address problem instead",
      "The agent was started with a socket at `address` (systemd's socket unit makes it), and no option names this "
      "address, or the ledger is off. Nobody answers there.",
      "Name the address in `listen`, `log_listen` or `admin_listen`, or take it out of the socket unit.")

/* ---- upgrades (SIGUSR2) */
EVENT(upgrading, INFO, "binary pid",
      "SIGUSR2 was received. A worker process of the binary that is now on disk starts beside the running one.",
      "")
EVENT(handed_over, INFO, "connections",
      "The old worker process gave its connections to the new one.",
      "")
EVENT(upgraded, INFO, "pid in_ms",
      "The new worker process answers HAProxy. The old one ends.",
      "")
EVENT(master_upgraded, INFO, "version worker",
      "The master runs the new version too. The upgrade is complete.",
      "")
EVENT(upgrade_failed, ERROR, "problem binary pid signal exit_code instead hint",
      "The new version did not start or did not become ready; the running version goes on. `problem` says why, and "
      "the lines that the new process logged stand before this one. The level is warn if SIGUSR1 asked for a "
      "drain meanwhile, which ends the upgrade.",
      "Run `check` with the new binary, fix what it finds, and upgrade again.")
EVENT(handover_failed, WARN, "problem instead",
      "A step of the handover to a new worker process failed: of HAProxy's connections, the log streams or the ledger. "
      "`instead` says what follows. As long as the new worker does not have the connections, the old one goes on.",
      "Upgrade again. If it fails again, restart.")

/* ---- the tap */
EVENT(tap_ready, INFO, "version streams memory",
      "The tap answers HAProxy. `streams` is how many connections of HAProxy it takes at a time, `memory` how many bytes it may use for them.",
      "")
EVENT(tap_draining, INFO, "why streams",
      "The tap takes no new connections: HAProxy goes without it. It ends when the last of its `streams` has ended.",
      "")
EVENT(tap_ended, INFO, "streams_total",
      "The tap ended as it was asked to. `streams_total` counts the requests that went through it.",
      "")
EVENT(tap_full, WARN, "connections memory",
      "The tap has as many connections, or as much memory, as it may have. HAProxy goes without it until there is room, so the "
      "figures of these streams are estimates.",
      "Raise `--streams` or `--memory` of the tap, and its limit of open files: two for each stream.")
EVENT(tap_has_room, INFO, "connections memory",
      "The tap was full, and takes connections again.",
      "")
EVENT(tap_few_files, WARN, "streams possible",
      "The limit of open files is too low for the `streams` that the tap is to take. It takes those that are `possible`.",
      "Raise the limit (LimitNOFILE= in the unit), or lower `--streams`.")
EVENT(tap_no_legs, WARN, "directory problem",
      "The tap cannot look into the directory of the legs' sockets. Until it can, it answers 503 to each request.",
      "Compare `--legs` with LLM_LEGS in HAProxy's environment, and see whether the tap's user may enter the directory.")
EVENT(tap_socket_gone, WARN, "path problem",
      "The file of the tap's socket was gone, or led to a process that is dead. The tap made it again; if that failed, `problem` says why.",
      "See what removed it: a cleaner of /run, or another tap that was killed.")
EVENT(tap_request_refused, WARN, "problem",
      "A connection to the tap was closed, because it sent something that HAProxy does not send with the sections that "
      "`spoa-llm backends` writes. `problem` says what.",
      "Write the sections anew, and reload HAProxy.")
EVENT(tap_answer_unreadable, WARN, "id problem",
      "The tap could not follow the framing of the answer to the request `id`. It passed on every byte, but does not know what the "
      "answer used: the figure is an estimate.",
      "Report it, with the upstream's name.")
EVENT(tap_leg_unreachable, WARN, "leg problem",
      "The tap could not connect to the socket of a leg, so HAProxy answered 503 upstream_unavailable.",
      "See that HAProxy listens there and that the tap's user may write to the socket (LLM_LEGS and LLM_LEG_ACCESS in HAProxy's environment, "
      "`--legs` of the tap).")
EVENT(tap_report_lost, WARN, "lost socket",
      "The agent takes no reports at `socket`, and no more of them can wait. `lost` counts those that were dropped: the figures of these "
      "streams are estimates.",
      "See that the agent runs with `tap` on, and that the tap's user may write to the socket.")
EVENT(ship_started, INFO, "version ledger gateway",
      "`spoa-llm ship` has begun. It sends the rows of this ledger to the fleet's PostgreSQL, under this gateway's name.",
      "")
EVENT(ship_connected, INFO, "server gateway epoch position",
      "PostgreSQL takes rows. It has those of this gateway up to `position`, the sequence of a row in the ledger.",
      "")
EVENT(ship_waits, WARN, "problem instead",
      "PostgreSQL, or the ledger, cannot be reached, or PostgreSQL takes no rows now. `ship` tries again, at first each second, later each 30 s. Requests "
      "and the ledger do not wait for it.",
      "`problem` says what is wrong. See that PostgreSQL runs and has room, and that this host reaches it.")
EVENT(ship_refused, ERROR, "problem",
      "PostgreSQL does not let this gateway write, or a setting is wrong. `ship` goes on trying.",
      "`problem` says what to do.")
EVENT(ship_unheard, WARN, "problem instead",
      "The socket `ship_listen`, at which the agent asks for the figures of all gateways, could not be opened. Rows are sent all the same.",
      "Look at the directory of the socket: the shipper's user has to be able to make files in it. `/usr/lib/tmpfiles.d/spoa-llm.conf` makes it.")
EVENT(ship_spent_failed, WARN, "problem",
      "PostgreSQL refuses what `ship` asks for the budgets of the fleet. Rows are shipped meanwhile; the agent goes on alone (`budgets_alone`).",
      "`problem` says what is wrong. If the schema is older than the program: `spoa-llm fleet init`.")
EVENT(ship_epoch, WARN, "epoch position",
      "The ledger is another copy than the one whose rows PostgreSQL has up to `position`, such as a backup that was restored. All of its rows are sent again; "
      "none counts twice.",
      "Nothing, if a ledger was restored. If not: another host ships a copy of this ledger, which needs a UUID of its own.")
EVENT(ship_rejected, ERROR, "id problem",
      "PostgreSQL refuses this row for its values. It is noted in the table `spoa_llm.rejected`, and the rows after it are sent.",
      "Report it: this should not happen. `spoa-llm fleet resend` sends the row again.")
EVENT(ship_drift, WARN, "gateways routes clients",
      "Of the other `gateways` of the fleet, `routes` have other routes than this gateway, and `clients` have other clients.",
      "`spoa-llm fleet list` says which gateways differ from most, and since when. Bring their configuration or their file of clients up to date, and reload.")
EVENT(ship_alike, INFO, "gateways",
      "The other `gateways` of the fleet have the routes and clients of this gateway again, after `ship_drift`.",
      "")
EVENT(otlp_waits, WARN, "problem instead",
      "The OpenTelemetry collector, or the ledger, cannot be reached, or the collector takes no spans now. `ship` "
      "tries again, at first each second, later each 30 s, or after the time that the collector asks for. Requests and "
      "the ledger do not wait for it.",
      "`problem` says what is wrong. See that the collector runs, and that this host reaches it.")
EVENT(otlp_refused, ERROR, "problem",
      "The OpenTelemetry collector does not let this gateway in, or a setting is wrong. `ship` goes on trying, and no span is dropped.",
      "`problem` says what to look at.")
EVENT(otlp_dropped, ERROR, "spans from_sequence to_sequence problem",
      "The OpenTelemetry collector would never take these spans, so they were dropped. They are of rows of the ledger with these sequences; the rows stay.",
      "Look at the collector's own log. If it answers 413, its limit for a request is less than one span: raise it.")
EVENT(otlp_removed, ERROR, "spans",
      "Retention removed the rows of `spans` requests, or of a few more, before they were sent to the OpenTelemetry "
      "collector. Their sums stay in the ledger.",
      "Look at what event=otlp_waits or event=otlp_refused says of the collector; until it is there again, a longer retention_days keeps rows for it.")
EVENT(otlp_anew, WARN, "problem",
      "The file that says up to where the OpenTelemetry collector has the ledger cannot be read. Spans are sent from "
      "the requests of an hour ago on; the collector may have some of them already, and then gets the same spans, with "
      "the same ids, once more.",
      "Look at the file, and at its disk.")
EVENT(otlp_ended, INFO, "sent dropped",
      "`spoa-llm ship` sends no spans any more, because it ends. It counts those that it has sent, and those that it has dropped.",
      "")
EVENT(ship_ended, INFO, "sent",
      "`spoa-llm ship` has ended. A transaction that was under way has no effect: its rows are sent after the next start. `sent` counts the rows that it has sent.",
      "")
EVENT(tap_upgrading, INFO, "binary pid",
      "SIGUSR2 was received. A tap of the binary that is now on disk starts beside the running one.",
      "")
EVENT(tap_upgraded, INFO, "pid in_ms",
      "The new tap answers HAProxy. The old one keeps its streams until they end.",
      "")
EVENT(tap_upgrade_failed, ERROR, "problem",
      "The new tap did not start. The running one goes on.",
      "Fix what `problem` names, or what the lines before it say, and upgrade again.")

/* ---- configuration and routes */
EVENT(routes_unusable, ERROR, "problem instead",
      "`HEADROOM_UPSTREAM_ROUTES` is not a JSON array. There are no routes: every request goes by the legacy rule.",
      "Fix the variable. With `strict` such an error keeps the agent from starting.")
EVENT(route_problem, WARN, "problem instead",
      "An entry of `HEADROOM_UPSTREAM_ROUTES` is wrong: `problem` says what, and `instead` what is done about it.",
      "Fix the entry. With `strict` such an error keeps the agent from starting.")
EVENT(listen_open, WARN, "address problem hint",
      "`listen_mode` lets every user write to the agent's socket at `address`, over which credentials go. Sockets that systemd opens have the permissions of their unit instead.",
      "Do what `hint` says.")
EVENT(variable_unknown, WARN, "variable hint",
      "A variable in the environment of the agent, or of the tap, has a name that is similar to that of an option, and is none. It has no effect.",
      "Correct its name (`hint` says which one was probably meant), or remove the variable.")
EVENT(route_unreachable, WARN, "route model_prefix shadowed_by its_model_prefix path_prefix its_path_prefix",
      "No request reaches `route`, because the route before it with the number `shadowed_by` matches everything "
      "that this one would match.",
      "Put the longer prefix first, or remove the route.")
EVENT(route_cleartext, WARN, "route upstream problem",
      "The upstream of this route is an http:// URL of another host: the credential would travel without TLS.",
      "Use https://.")

EVENT(credential_read, INFO, "auth route routes expires because",
      "The credential `auth` was read: for the first time since the start of this process, because it has changed, or because it is there again, unchanged (`because` says which). `route` is the first of the "
      "`routes` routes that use it. `expires` is the time that the file names, if it names one.",
      "")
EVENT(credential_missing, ERROR, "auth route routes problem instead",
      "The credential `auth` is not there or cannot be used, or it expired. The requests of its routes are refused: "
      "upstream_auth_unavailable (502, or the status in `refusal_status`). If it is that of a pool's member (`route` is ROUTE/MEMBER), the other members serve. Logged when that begins, and when `problem` changes.",
      "Fix what `problem` names. A file is read again within two seconds; a variable needs a restart. Where "
      "spoa-llm-token@.service writes the file, `systemctl status` says why it failed.")
EVENT(credential_expiring, WARN, "auth route routes expires problem",
      "The credential `auth` expires within three minutes, and its file has no newer one. From then on it counts as missing.",
      "See what should replace the file: `systemctl status spoa-llm-token@NAME.timer spoa-llm-token@NAME.service`.")

/* ---- connections of HAProxy */
EVENT(refused, WARN, "id status code route model auth client problem",
      "The agent had HAProxy refuse a request. `code` is the code of the client's error, `problem` says more, `auth`"
      " names the variable or the file of a credential that is missing, `client` the client whose key the request has, "
      "also if the key expired or the client is disabled. `id` is HAProxy's unique-id of the request.",
      "What to do depends on `code`: see REFUSALS.")
EVENT(leg_refused, WARN, "id leg status code auth problem",
      "A leg, through which a request goes from the tap or from a pool, asked for its credential and got none. HAProxy refused the request, or, in a pool, tried the next member. "
      "When the request came in, the agent still had a usable credential for it, and a leg. `id` is HAProxy's unique-id of the request.",
      "upstream_auth_unavailable: see REFUSALS. upstream_resting: nothing, because the member began to rest meanwhile. no_backend: make the backends again by `spoa-llm backends`, and reload HAProxy.")
EVENT(member_rests, WARN, "id route member status seconds",
      "The upstream of a pool's member declined a request by an answer with `status`, so the pool passes the member over for `seconds`. That is what the answer's "
      "retry-after says, 5 minutes at most; without a retry-after it is 1 second, and twice as long each time, up to 30. The request went on to the next member, if one was left. `id` is HAProxy's "
      "unique-id of the request.",
      "Nothing, if the other members can take these requests. If the member rests often: raise its limits at the provider, give it less `weight`, or add a member.")
EVENT(member_back, INFO, "route member",
      "The rest of a pool's member is over, so the pool offers it requests again. If its upstream declines the next one, `member_rests` follows.",
      "")
EVENT(refused_by_haproxy, WARN, "id status code route backend member model term problem",
      "HAProxy refused a request by itself, or answered in place of an upstream: the agent learns of it by the log line, and only if "
      "a ledger is kept. `backend` is the upstream's, or the one that the agent named; `member` the pool's member that was asked last; `term` is HAProxy's termination state.",
      "What to do depends on `code`: see REFUSALS.")
EVENT(contract_outdated, WARN, "id contract needed hint",
      "HAProxy runs with a haproxy.cfg (llm.cfg) and spoe.conf whose `contract` does not fit the agent. If it is 0, one of them is from "
      "before contract 1 and lacks rules of safety, so routes that replace the credential refuse every request (503 "
      "contract_outdated). If it is -1, the agent does not know their contract, and refuses every request. Logged once a minute.",
      "Install llm.cfg and spoe.conf of the agent's version, both, and reload HAProxy. `spoa-llm check` says which files are "
      "installed. Until then `allow_older_contract` lets files from before contract 1 go on.")
EVENT(backends_differ, WARN, "id haproxy agent hint",
      "HAProxy's backends were made by `spoa-llm backends` for other routes, targets or options than the agent has: their hash is "
      "`haproxy`, the agent's is `agent`. Requests for a route whose backend is missing are refused (502 no_backend). Logged once a minute.",
      "Make the backends again, and reload HAProxy and the agent. If that is done, one of two HAProxys or agents was left out.")
EVENT(spop_error, WARN, "fd status problem instead",
      "HAProxy, or something else that connected to `listen`, sent bytes that are not valid SPOP. The connection "
      "was closed.",
      "See who can open the socket, and which version HAProxy has.")
EVENT(frame_size, WARN, "offered taken max_frame_size max_memory hint",
      "HAProxy offers frames of `offered` bytes (its `tune.bufsize`), and the agent takes `taken`, because of its option "
      "`max_frame_size` or `max_memory`. HAProxy cannot show the agent a body that needs a larger frame, and refuses it "
      "(413 model_not_in_sample). Logged once a minute.",
      "Raise the option that `hint` names, or lower `LLM_BUFSIZE` in HAProxy's environment.")
EVENT(ack_too_large, ERROR, "id route max_frame_size hint",
      "The answer to a request, such as a long list of models, did not fit the frame size that HAProxy and the agent "
      "agreed on. The request was refused with 503 gateway_unavailable.",
      "Raise `tune.bufsize` in HAProxy, and `max_frame_size` if it is set.")
EVENT(hello_timeout, WARN, "fd instead",
      "A connection sent no HELLO within ten seconds: it is probably not HAProxy's. It was closed.",
      "See who can open the socket of `listen`.")
EVENT(connection_stalled, WARN, "fd bytes problem instead",
      "HAProxy did not take its answers for 30 seconds. The connection was closed.",
      "Look whether HAProxy hangs, or waits for CPU.")
EVENT(connection_refused, ERROR, "max_connections problem",
      "A connection was closed at once, because `max_connections` is reached or there is no memory.",
      "See who opens so many connections; raise `max_connections` and the unit's LimitNOFILE. If memory is short, give "
      "the process more, or the tap less to hold (`--memory`).")
EVENT(accept_paused, ERROR, "problem hint",
      "No file descriptor, or no memory, is left for a new connection: `problem` says which. Agent or tap waits a moment "
      "before it accepts more. The other connections are still answered.",
      "Raise the limit of open files (LimitNOFILE). If memory is short, give the process more, or the tap less to hold "
      "(`--memory`).")
EVENT(memory_limit, ERROR, "fd max_memory instead",
      "The buffers of all connections together reached `max_memory`. The connection that needed more was closed.",
      "Look for a HAProxy that does not take its answers; otherwise raise `max_memory`.")
EVENT(in_flight_limit, WARN, "fd max_in_flight problem instead",
      "A connection has `max_in_flight` answers waiting, and its peer goes on asking. Nothing more is read from it "
      "until the peer has taken them.",
      "Look whether HAProxy hangs; otherwise raise `max_in_flight`.")

/* ---- admin server */
EVENT(admin_token_read, INFO, "option source",
      "The token of `option` (admin_token or viewer_token) was read: at the start of this process, or because its file has another one now, which counts at once.",
      "")
EVENT(admin_token_missing, ERROR, "option source problem instead",
      "The admin server cannot use the token of `option` (admin_token or viewer_token): `source` names the variable or the file, which is not set, empty, not "
      "readable, or has a control character. Nobody is let in by it. Logged when that begins, and when `problem` changes.",
      "Set the token. A file is read again by itself, a variable needs a restart.")
EVENT(admin_waits, ERROR, "problem instead",
      "The admin server could not be started after an upgrade. It is tried again every second; decisions go on.",
      "Fix what `problem` names.")
EVENT(admin_left, WARN, "problem instead",
      "When the worker process stopped, a request to the admin server waited for a disk for more than 2 seconds. "
      "The process ends without answering it. The ledger was closed before that: nothing is lost.",
      "Look for a disk that hangs.")

/* ---- log lines from HAProxy */
EVENT(log_key_missing, WARN, "problem instead",
      "The ledger is kept, and `SPOA_LLM_LOG_KEY` is not set. Every local process can write to the ledger.",
      "Set the variable, to the same value for the agent and HAProxy; restart both.")
EVENT(log_listen_open, WARN, "address problem hint",
      "`log_listen` has a TCP or UDP address, which permissions do not guard. Every local process can send to it. While "
      "the agent does not hold it, every local process can bind it, and then gets HAProxy's lines and the key in "
      "them.",
      "Use unix sockets, as the default does. If HAProxy is on another host: a network that only the two can reach.")
EVENT(log_queue_short, WARN, "datagrams problem hint",
      "A unix datagram socket holds only so many log lines (`datagrams`) while the agent is busy. HAProxy drops the "
      "rest. All lines come through the ring too, except the ends of streams that outlive a reload of HAProxy; but a line "
      "that is on its way through the ring when the agent is killed is lost there.",
      "sysctl net.unix.max_dgram_qlen=4096, and then start whatever makes the socket again: the agent, or the socket unit.")
EVENT(log_line_foreign, WARN, "problem",
      "A line without the key (`SPOA_LLM_LOG_KEY`) was dropped. HAProxy was started with another key, or another "
      "process writes to `log_listen`.",
      "Restart HAProxy with the agent's key. If the lines go on, see who else sends them.")
EVENT(log_line_malformed, WARN, "problem member bytes",
      "A line that is not as haproxy.cfg.example writes it was dropped. `problem` says what is wrong, `member` "
      "where.",
      "Use the example's `log-format` as it is; where lines are cut, raise `len` and `maxlen` of HAProxy's log targets.")
EVENT(tap_report_malformed, WARN, "problem bytes",
      "A datagram that is no report of `spoa-llm tap` came to the tap's socket, and was dropped. `problem` says what is "
      "wrong. The request keeps its estimate.",
      "Run the tap in the agent's version. If it is, see who else writes to the socket.")
EVENT(log_lines_dropped, WARN, "datagrams problem hint",
      "The kernel dropped log lines, because the buffer of a UDP socket was full. Their copies may have come through "
      "HAProxy's ring.",
      "Raise net.core.rmem_max, or use unix sockets. `spoa-llm ledger import` fills gaps from "
      "HAProxy's log.")
EVENT(log_stream_refused, ERROR, "streams",
      "A connection of a HAProxy ring was closed at once, because there are too many (`streams`) or there is no "
      "memory.",
      "See which HAProxys, or what else, connect to `log_listen`.")
EVENT(log_stream_closed, ERROR, "problem",
      "A connection of a HAProxy ring was closed, because there is no memory. HAProxy connects again.",
      "Give the machine or the unit more memory.")
EVENT(log_peek_failed, WARN, "problem",
      "The kernel does not let the agent read a log line and leave it in the socket (SO_PEEK_OFF). Lines that come "
      "as datagrams may be lost.",
      "Report it, with the version of the kernel.")

/* ---- the tap */
EVENT(tap_silent, WARN, "seconds instead",
      "No process `spoa-llm tap` has said anything to `tap_listen` for `seconds`. Where the tap is down, streams go to their upstreams "
      "directly, and their usage is estimated.",
      "Look at `systemctl status spoa-llm-tap` and at its log. If it runs, compare its `--report` with `tap_listen`, and see whether its user may "
      "write to that socket.")
EVENT(tap_heard, INFO, "processes",
      "Processes `spoa-llm tap` say something again, after `tap_silent`.",
      "")

EVENT(fleet_silent, WARN, "seconds instead",
      "No process `spoa-llm ship` has said anything to `fleet_listen` for `seconds`. Rows stay in the ledger until PostgreSQL has them, up to `fleet_backlog`.",
      "Look at `systemctl status spoa-llm-ship` and at its log. If it runs, compare its configuration's `fleet_listen` with the agent's, and see whether its "
      "user may write to that socket.")
EVENT(fleet_heard, INFO, "state",
      "`spoa-llm ship` says something again, after `fleet_silent`.",
      "")
EVENT(fleet_backlog_full, ERROR, "rows backlog",
      "The oldest `rows` that PostgreSQL does not have were removed from the ledger, because requests that are older "
      "than `retention_days` and wait for PostgreSQL may take no more than `fleet_backlog` bytes. Their sums stay in "
      "the ledger, but not in PostgreSQL.",
      "Fix what keeps `spoa-llm ship` from shipping; raise `fleet_backlog` or `retention_days` if the disk has room.")

/* ---- clients */
EVENT(clients_loaded, INFO, "file clients keys projects",
      "The file of clients was read, and is in use: at the start, at a reload, or because it changed.",
      "")
EVENT(clients_changed, INFO, "file by added removed changed keys projects",
      "Other clients are in force than before: those that were added, removed and changed are named. `keys` names clients that have other keys, or keys with another end; `projects` names projects with other limits. "
      "`by` is what asked for the reload, or `its file`, which has changed.",
      "")
EVENT(clients_not_loaded, ERROR, "problem instead",
      "The file of clients changed, and cannot be used: `problem` has file, line and column. The clients stay as they"
      " were, so that a key that was taken out of the file is still good.",
      "Fix the file; `spoa-llm check` lists all that is wrong with it. The agent reads the file again within two seconds.")

/* ---- budgets */
EVENT(budgets_anew, WARN, "problem",
      "The worker begins with a new memory of the budgets, because another version of the agent made the one that is there:"
      " what was spent is read from the ledger, and what was reserved for requests in flight is not known any more.",
      "")
EVENT(budgets_alone, WARN, "gateways problem",
      "This gateway does not hear any more what the other gateways of the fleet spend. Until it hears that again, it spends no more than its share: what was left of each budget, divided by `gateways`, the number of gateways that were seen last.",
      "See that `spoa-llm ship` runs, and that it reaches PostgreSQL.")
EVENT(budgets_together, INFO, "gateways",
      "This gateway hears again what the other gateways of the fleet spend, after `budgets_alone`.",
      "")
EVENT(budget_spent, WARN, "of name percent",
      "The client or project `name` has spent `percent`, 80 or 100, of the budget of its period; 100 also if a request was"
      " refused because the rest did not suffice. Logged once for each period.",
      "If the client or project may spend more, raise its budget in the file of clients.")
EVENT(budget_charged, WARN, "requests",
      "`requests` counts requests of clients with a budget whose end no log line has told for four hours. What was "
      "reserved for them is charged to the budgets; a log line that comes later takes that back.",
      "If this repeats, look whether HAProxy's log lines reach the agent: `log_line_foreign`, `log_lines_dropped`.")

/* ---- the ledger */
EVENT(ledger_waits, WARN, "problem instead",
      "The ledger cannot be opened: another process still has it, or its directory is gone. It is tried again every"
      " second; what comes in meanwhile waits in the sockets. A worker that ends tries until the old one has closed the"
      " ledger, for up to 25 seconds; if it gives up, `instead` says so, and lines that it had to read are lost.",
      "If this lasts longer than an upgrade, fix what `problem` names.")
EVENT(ledger_ok, INFO, "database",
      "The database takes records.",
      "")
EVENT(ledger_behind, WARN, "problem instead",
      "Another process has locked the database, or database or journal took nothing for 30 seconds (`problem` says which). Journal or HAProxy keep the records, and they are stored when the cause is gone.",
      "Locked: `fuser -v` with the path of the database shows who has it; end its transaction. Else look for a disk that hangs, or wait for the end of a migration.")
EVENT(ledger_failing, ERROR, "problem instead",
      "The database cannot be written: the disk is full, permissions are wrong, or the file is damaged. The journal"
      " keeps the records, and they are stored when the cause is gone, without a restart.",
      "Fix what `problem` names; `spoa-llm ledger verify` looks for damage.")
EVENT(journal_failing, ERROR, "dir problem waiting",
      "The disk refuses the journal, or `journal_max` is reached. Records wait in memory, up to 4 MB; after that "
      "new ones are dropped and counted. If `problem` names fdatasync or fsync, the records are written, and only a loss of power would cost them; they are written again until the disk takes them, at first after a second, at last each half minute.",
      "Make room on the disk. Where `journal_max` is reached, see why the database takes nothing.")
EVENT(journal_recovered, WARN, "dir problem dropped",
      "The disk takes the journal again, after `journal_failing`. `dropped` counts the records that were lost since "
      "the agent started.",
      "`spoa-llm ledger import` fills gaps from HAProxy's log.")
EVENT(journal_torn, WARN, "file at bytes",
      "The last record of a file of the journal is not whole, because the process was killed while it wrote it. It "
      "was cut off.",
      "")
EVENT(journal_damaged, ERROR, "file problem at bytes",
      "A part of a file of the journal, `bytes` long from the byte `at` on, is not what was written. It was "
      "skipped, and the records after it are stored. If the header is damaged, or a newer version wrote the file, "
      "`problem` says so, and the file is kept unread.",
      "Look for faults of the disk; `spoa-llm ledger import` fills gaps from HAProxy's log. A file of a newer "
      "version is read when that version runs; a file with a damaged header may be removed by hand.")
EVENT(journal_unreadable, ERROR, "problem instead",
      "A file of the journal could not be read. The other files were read; this one stays where it is.",
      "Fix what `problem` names; the next start reads the file again.")
EVENT(journal_segment_gone, WARN, "dir segment",
      "Somebody removed the file of the journal that was being written, or its directory. A new file is begun. "
      "Records that were not stored yet may be lost.",
      "Leave the directory to the agent.")
EVENT(journal_closed_unwritten, ERROR, "dir problem bytes",
      "The agent stopped while the disk refused the journal. What waited in memory is lost.",
      "`spoa-llm ledger import` fills gaps from HAProxy's log.")
EVENT(references_lost, ERROR, "problem",
      "There was no memory for the routes' `reference_model`s. New records have no savings by routing until the "
      "next reload.",
      "Reload when there is memory.")
EVENT(ledger_migrated, INFO, "database from_version",
      "The database was made by an older version, and has this version's schema now; `from_version` is the schema's old"
      " version. An older agent cannot use it any more.",
      "To go back to the older version, restore the backup that you made before the upgrade.")
EVENT(pruned, INFO, "rows",
      "Requests older than `retention_days` were removed from the database, all of them: `rows` since the last such "
      "event. Their sums stay.",
      "")
EVENT(prune_failed, WARN, "problem",
      "Requests older than `retention_days` could not be removed. It is tried again in a minute.",
      "Fix what `problem` names.")

/* ---- only with log_level debug */
EVENT(connection, DEBUG, "fd thread connections", "A connection was accepted.", "")
EVENT(hello, DEBUG, "fd max_frame_size pipelining healthcheck", "HAProxy and the agent agreed on how to talk.", "")
EVENT(frame_skipped, DEBUG, "fd", "A frame of a type that the agent does not know was skipped, as SPOP wants it.", "")
EVENT(disconnect, DEBUG, "fd status reason",
      "HAProxy said good-bye. Status 1 is usual: HAProxy up to 3.0 sends it when it leaves an idle connection.",
      "")
EVENT(connection_lost, DEBUG, "fd problem", "Writing to a connection failed.", "")
EVENT(connection_closed, DEBUG, "fd by", "A connection ended.", "")
EVENT(decision, DEBUG, "id route model model_from backend auth", "A request was let through.", "")
EVENT(asked_for_more, DEBUG, "id buffered",
      "The model was not in what HAProxy sent of the body; HAProxy was told to ask again with all of it.",
      "")
EVENT(log_stream, DEBUG, "fd", "A ring of HAProxy connected to `log_listen`.", "")
EVENT(totals_unread, DEBUG, "problem",
      "The totals of /metrics could not be read from the database; the last ones are shown.",
      "")
EVENT(worker_retired, DEBUG, "pid signal exit_code",
      "An old worker process ended after an upgrade, or one that could not be killed ended at last.",
      "")
/* clang-format on */
