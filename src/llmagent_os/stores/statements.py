"""Every statement of the system, by name: the writes of a commit and the reads beside it."""

from __future__ import annotations

PROCESS = "pid, parent, name, program, args, state, status, reason, result, tenant, principal, budget, supervision, "
PROCESS += "usage, upto, turn, created, nice, held, origins, owner_turn, restarts"
BORN = "pid, parent, name, program, args, status, tenant, principal, budget, supervision, usage, created, nice, held, "
BORN += "origins, owner_turn"  # the others come later
CALL = "pid, seq, turn, name, key, args, result, error, tenant, principal, labels, origins, outcome, decision, "
CALL += "input_tokens, output_tokens, cached_tokens, money, started, seconds, waited, crc"
BRIEF = "pid, seq, turn, name, '', x'', NULL, NULL, tenant, principal, labels, origins, outcome, decision, "
BRIEF += "input_tokens, output_tokens, cached_tokens, money, started, seconds, waited, 0"  # without what was said
BELOW = "below(pid) AS (VALUES (?1) UNION SELECT process.pid FROM process JOIN below ON parent = below.pid "
BELOW += "WHERE parent > 0)"
MESSAGE = "n, id, box, body, sender, reply_to, task, at, origins, tenant, principal"
NOW = "(julianday('now') - 2440587.5) * 86400"  # seconds since the epoch
AGENT = "iif(instr(name, '@'), substr(name, 1, instr(name, '@') - 1), name)"
AWAKE = "status != 'waiting'"  # word for word as the index has it
LIVING = "status NOT IN ('stopped', 'done', 'quarantined')"
THEIRS = "(?3 IS NULL OR principal = ?3)"
NAMED = f"SELECT pid, principal FROM process WHERE tenant = ?1 AND {LIVING} AND name "
MEANT = "name = ?2 OR substr(name, 1, length(?2) + 1) IN (?2 || '@', ?2 || '~') "
MEANT += "OR instr(name, '@') > 0 AND substr(name, instr(name, '@') + 1) = ?2"
"""A process by its name, its agent's or its session's."""
BESIDE = "SELECT name, principal FROM process INDEXED BY process_named WHERE tenant = ?1 AND name {} ?2 AND "
BESIDE += LIVING + " AND name IS NOT NULL ORDER BY name {} LIMIT 100"

EMPTY = "key = ?, args = ?, crc = ?, result = NULL, error = NULL, labels = NULL, origins = NULL, "
EMPTY += "decision = NULL, principal = ''"
OLD_MESSAGES = "SELECT n FROM message WHERE at < ? AND (taken = 1 OR box >= 'task/' AND box < 'task0' "
OLD_MESSAGES += "OR box >= 'dead:' AND box < 'dead;') ORDER BY n LIMIT 1000"
RESPONSES = "(space = 'response' OR space LIKE '%/response') AND at < ?"
OVER = "period != '' AND period < strftime('%Y-%m-%d', ?, 'unixepoch')"  # a period is the beginning of a date
FACT = "fact, place, subject, predicate, object, since, until, recorded, confidence, source, document, begin, "
FACT += "sentence, origins"
PLAIN_FACT = FACT.replace("sentence", "''")
NEWEST = "(SELECT max(n) FROM call)"  # it stays, for the next row has the number after it
ANSWERED = "space = 'approval' AND at < ? AND json_extract(CAST(value AS TEXT), '$.allowed') IS NOT NULL"
REPLACED = "EXISTS (SELECT 1 FROM record AS newer WHERE newer.space = record.space AND newer.key = record.key "
REPLACED += "AND newer.version > record.version AND newer.at < ?)"
AGE = "coalesce((SELECT started FROM call WHERE pid = process.pid ORDER BY seq DESC LIMIT 1), created)"
FIRST = "(SELECT {} FROM call WHERE pid = process.pid ORDER BY seq LIMIT 1)"
RUN = "(SELECT tenant FROM process WHERE pid = ?1) || '{0}run{0}' || ?1"
"""Where a run has its boards and topics (see `teamwork.places`)."""
KEPT = "CASE program WHEN 'service' THEN (SELECT max(seq) FROM call WHERE pid = process.pid) ELSE upto END"
"""The row from which on a process needs its calls."""

SUMS = ", ".join(
    f"'{name}', coalesce(json_extract(CAST(usage AS TEXT), '$.{name}'), 0) + coalesce({new}, 0)"
    for name, new in {
        "input_tokens": "sum(input_tokens)", "output_tokens": "sum(output_tokens)", "money": "sum(money)",
        "steps": "count(*)",
    }.items()
)  # fmt: skip
"""Of a process: what it had consumed at its last park, and what its calls since then have."""
ABOUT = "tenant = ? AND name IN ('keys.mint', 'privacy.consent') "
ABOUT += "AND iif(json_valid(CAST(args AS TEXT)), json_extract(CAST(args AS TEXT), '$.principal'), NULL) = ?"
"""Acts of others about somebody."""

DOCUMENT = "document, place, source, title, hash, tags, origins, at, added, first, last"
SOUGHT = "place IN (SELECT value FROM json_each(?1)) AND substr(source, 1, length(?2)) = ?2 "
SOUGHT += "AND (?3 IS NULL OR at >= ?3) AND (?4 IS NULL OR at <= ?4) AND NOT EXISTS "
SOUGHT += "(SELECT 1 FROM json_each(?5) WHERE value NOT IN (SELECT value FROM json_each(tags)))"

WRITES = {
    "process.add": f"INSERT INTO process({BORN}) VALUES ({','.join('?' * 16)})",
    "process.status": "UPDATE process SET status = ?, reason = ? WHERE pid = ?",
    "process.turn": "UPDATE process SET state = ?, usage = ?, upto = ?, turn = ?, origins = ? WHERE pid = ?",
    "process.result": "UPDATE process SET result = ?, origins = ? WHERE pid = ?",
    "process.restarts": "UPDATE process SET restarts = ? WHERE pid = ?",
    "process.name": "UPDATE process SET name = ? WHERE pid = ?",
    "process.nice": "UPDATE process SET nice = ? WHERE pid = ?",
    "process.held": "UPDATE process SET held = ?, budget = ? WHERE pid = ?",
    "process.args": "UPDATE process SET args = ? WHERE pid = ?",
    "process.sum": "UPDATE process SET (upto, usage) = (SELECT max(seq), "
    f"CAST(json_patch(CAST(usage AS TEXT), json_object({SUMS})) AS BLOB) "
    "FROM call WHERE pid = process.pid AND seq > upto) WHERE program = 'service' "
    "AND EXISTS (SELECT 1 FROM call WHERE pid = process.pid AND seq > upto)",
    "call.add": f"INSERT INTO call({CALL}) VALUES ({','.join('?' * 22)})",
    "account.add": "INSERT INTO account(account, resource, period, used) VALUES (?,?,?,?) "
    "ON CONFLICT DO UPDATE SET used = used + excluded.used",
    "message.add": "INSERT INTO message(id, box, body, sender, reply_to, task, at, origins, tenant, principal) "
    "VALUES (?,?,?,?,?,?,?,?,?,?) ON CONFLICT(tenant, id, box) DO UPDATE SET body = "
    "iif(body = excluded.body, body, NULL)",  # another body: refused, for there is none without one
    "message.refuse": "INSERT INTO message(id, box, body, sender, task, at, tenant, principal) "
    "SELECT id || '.error', reply_to, ?, box, task, ?, tenant, principal FROM message "
    "WHERE box = ? AND taken = 0 AND reply_to IS NOT NULL",
    "message.skip": "UPDATE message SET taken = 1 WHERE box = ?",
    "message.take": "UPDATE message SET taken = 1 WHERE n = ?",
    "message.move": "UPDATE message SET box = ? WHERE n = ? AND taken = 0",
    "message.took": "UPDATE message SET taken = 1 WHERE tenant = ? AND id = ? AND box = ?",
    "topic.add": "INSERT INTO message(n, id, box, body, sender, at, origins, tenant, principal) "
    "SELECT max(coalesce((SELECT max(n) FROM message), 0), ?) + 1, ?,?,?,?,?,?,?,? WHERE true "
    "ON CONFLICT(tenant, id, box) DO UPDATE SET body = iif(body = excluded.body, body, NULL)",  # as `message.add`
    "topic.bury": "INSERT INTO message(id, box, body, sender, task, at, origins, tenant, principal) "
    "SELECT id, ?, body, sender, ?, ?, origins, tenant, principal FROM message WHERE n = ? AND box IN (?, ?) "
    "ON CONFLICT(tenant, id, box) DO UPDATE SET taken = 0, task = excluded.task, at = excluded.at",
    "topic.retry": "UPDATE message SET taken = 1, at = ? WHERE n = ? AND taken = 0",
    "topic.settle": "UPDATE message SET taken = 1 WHERE box = ? AND taken = 0 AND n <= ?",
    "blob.add": f"INSERT INTO blob(hash, data, at) VALUES (?, ?, {NOW}) ON CONFLICT DO UPDATE SET at = excluded.at",
    "file.add": "INSERT OR IGNORE INTO file(hash, tenant, principal) VALUES (?, ?, ?)",
    "record.put": "INSERT OR REPLACE INTO record(space, key, version, value, at) VALUES (?,?,?,?,?)",
    "record.add": "INSERT INTO record(space, key, version, value, at) VALUES (?,?,?,?,?)",
    "record.trim": "DELETE FROM record WHERE space = ? AND key = ? AND version <= ?",
    "record.drop": "DELETE FROM record WHERE space = ? AND key = ?",
    "erase.files": "DELETE FROM file WHERE tenant = ? AND principal = ?",
    "erase.calls": f"UPDATE call SET {EMPTY} WHERE tenant = ? AND principal = ?",
    "erase.acts": f"UPDATE call SET {EMPTY} WHERE {ABOUT}",
    "erase.calls_of": f"UPDATE call SET {EMPTY} WHERE pid IN (SELECT value FROM json_each(?))",
    "erase.messages": "DELETE FROM message WHERE tenant = ? AND principal = ?",
    "erase.messages_of": "DELETE FROM message WHERE box IN (SELECT 'pid/' || value FROM json_each(?))",
    "erase.process": "UPDATE process SET name = NULL, args = 'null', state = NULL, result = NULL, principal = '', "
    "reason = 'erased', origins = NULL WHERE pid IN (SELECT value FROM json_each(?))",
    "retain.calls": f"DELETE FROM call WHERE pid = ? AND seq < ? AND started < ? AND n < {NEWEST}",
    "retain.calls_of": f"DELETE FROM call WHERE pid = ? AND n < {NEWEST}",
    "retain.process": "DELETE FROM process WHERE pid = ?",
    "retain.boards": f"DELETE FROM record WHERE space > {RUN.format('/')} || '/' AND space < {RUN.format('/')} || '0'",
    "retain.boxes": "DELETE FROM message WHERE box > 'topic:' || "
    f"{RUN.format(':')} || ':' AND box < 'topic:' || {RUN.format(':')} || ';'",
    "retain.account": "DELETE FROM account WHERE account = 'process/' || ?",
    "erase.accounts": "DELETE FROM account WHERE substr(account, 1, length(?1) + 1) = ?1 || '/' "
    "AND substr(account, -length(?2) - 1) = '/' || ?2",
    "retain.messages": f"DELETE FROM message WHERE n IN ({OLD_MESSAGES})",
    "retain.accounts": f"DELETE FROM account WHERE {OVER}",
    "retain.records": f"DELETE FROM record WHERE {RESPONSES}",
    "retain.approvals": f"DELETE FROM record WHERE {ANSWERED}",
    "retain.versions": f"DELETE FROM record WHERE {REPLACED}",
    "know.document": f"INSERT INTO document({DOCUMENT}) VALUES ({','.join('?' * 11)})",
    "know.drop": "DELETE FROM document WHERE document = ?",
    "know.drop_passages": "DELETE FROM passage WHERE passage BETWEEN ? AND ?",
    "know.hash": "UPDATE document SET hash = ? WHERE document = ?",
    "know.passage": "INSERT INTO passage(passage, document, begin, text) VALUES (?,?,?,?)",
    "know.place": "INSERT INTO place(place, tenant, agent, principal) VALUES (?,?,?,?)",
    "know.segment": "INSERT OR REPLACE INTO segment(place, first, last, passages, rev, data) VALUES (?,?,?,?,?,?)",
    "know.drop_segment": "DELETE FROM segment WHERE place = ? AND first = ?",
    "memory.earlier": "INSERT INTO earlier(place, source, text, origins, at, until) VALUES (?,?,?,?,?,?)",
    "memory.drop": "DELETE FROM earlier WHERE place = ? AND source = ?",
    "fact.add": f"INSERT INTO fact({FACT}) VALUES ({','.join('?' * 14)})",
    "fact.drop": "DELETE FROM fact WHERE fact = ?",
    "fact.end": "UPDATE fact SET until = ? WHERE fact = ?",
    "fact.drop_place": "DELETE FROM fact WHERE place = ?",
    "same.drop_place": "DELETE FROM same WHERE place = ?",
    "rules.drop_place": "DELETE FROM ruleset WHERE place = ?",
    "same.add": "INSERT INTO same(same, place, kept, other, at) VALUES (?,?,?,?,?)",
    "same.drop": "DELETE FROM same WHERE same = ?",
    "rules.put": "INSERT OR REPLACE INTO ruleset(place, name, text, added) VALUES (?,?,?,?)",
    "rules.drop": "DELETE FROM ruleset WHERE place = ? AND name = ?",
    "blob.drop": "DELETE FROM blob WHERE hash = ? AND at <= ?",
    "file.drop": "DELETE FROM file WHERE hash NOT IN (SELECT hash FROM blob)",
}

READS = {
    "process.get": f"SELECT {PROCESS} FROM process WHERE pid = ?",
    "process.state": "SELECT state FROM process WHERE pid = ?",
    "process.list": f"SELECT {PROCESS} FROM process WHERE tenant = ? AND pid > ? ORDER BY pid LIMIT ?",
    "process.list_of": f"SELECT {PROCESS} FROM process WHERE tenant = ? AND pid > ? AND principal = ? "
    "ORDER BY pid LIMIT ?",
    "process.count": f"SELECT status, count(*) FROM process WHERE {AWAKE} GROUP BY status UNION ALL SELECT 'waiting', "
    f"(SELECT count(*) FROM process) - (SELECT count(*) FROM process WHERE {AWAKE})",
    "process.awake": f"SELECT pid FROM process WHERE status = 'running' AND {AWAKE}",
    "process.quarantined": f"SELECT pid, reason FROM process WHERE status = 'quarantined' AND {AWAKE}",
    "process.named": "SELECT pid FROM process WHERE tenant = ?1 AND name = ?2 AND (?3 IS NULL OR principal = ?3) "
    f"AND {LIVING} ORDER BY +pid",
    "process.loads": "SELECT pid, "
    "(SELECT count(*) FROM (SELECT 1 FROM message WHERE box = 'pid/' || pid AND taken = 0 LIMIT ?)), "
    "(SELECT max(n) FROM message WHERE box = 'pid/' || pid AND taken = 0) FROM process "
    "WHERE tenant = ? AND name = ? "
    f"AND (instr(name, '@') + instr(name, ':') = 0 OR principal IN (?, '*')) AND {LIVING}",
    "process.near": f"SELECT DISTINCT name FROM (SELECT * FROM ({BESIDE.format('>=', '')}) UNION ALL "
    f"SELECT * FROM ({BESIDE.format('<', 'DESC')})) WHERE "
    "(instr(name, '@') + instr(name, ':') = 0 OR principal IN (?3, '*'))",
    "process.like": "SELECT pid FROM process WHERE tenant = ?1 AND name >= ?2 AND name < ?3 "
    f"AND (?4 IS NULL OR principal IN (?4, '*')) AND {LIVING}",
    "process.meant": f"SELECT pid FROM ({NAMED} = ?2 UNION ALL {NAMED} > ?2 || '@' AND name < ?2 || 'A' UNION ALL "
    f"{NAMED} > ?2 || '~' AND name < ?2 || char(127)) WHERE {THEIRS} ORDER BY +pid",
    "past.meant": "SELECT pid FROM (SELECT pid, name, principal FROM process WHERE tenant = ?1 ORDER BY pid DESC "
    f"LIMIT 10000) WHERE {THEIRS} AND ({MEANT}) ORDER BY pid",
    "past.runs": "SELECT pid FROM (SELECT pid, name, principal FROM process WHERE tenant = ?1 ORDER BY pid DESC "
    f"LIMIT 10000) WHERE {THEIRS} AND substr(name, 1, length(?2)) = ?2 ORDER BY pid DESC LIMIT ?4",
    "desk.processes": "SELECT pid, parent, name, program, status, reason, principal, usage, turn, created, nice "
    "FROM process WHERE tenant = ?1 AND (?2 IS NULL OR principal = ?2)",
    "desk.calls": f"SELECT n, {BRIEF} FROM call WHERE tenant = ?1 AND n < ?2 AND (?3 IS NULL OR principal = ?3) "
    "AND (?4 IS NULL OR name = ?4) AND (?5 IS NULL OR pid = ?5) AND (NOT ?6 OR outcome != 'ok') "
    "ORDER BY n DESC LIMIT ?7",
    "desk.sessions": "SELECT pid, name, status, created, turn, "
    "(SELECT started FROM call WHERE pid = process.pid ORDER BY seq DESC LIMIT 1), "
    "(SELECT result FROM call WHERE pid = process.pid AND name = 'receive' ORDER BY seq LIMIT 1) FROM process "
    "WHERE tenant = ?1 AND name > ?2 || '@' AND name < ?2 || 'A' AND (?3 IS NULL OR principal = ?3) "
    f"AND program = 'agent' AND pid < ?4 AND {LIVING} ORDER BY pid DESC LIMIT ?5",
    "desk.turns": "SELECT seq, turn, name, iif(name = 'generate', NULL, args), iif(name = 'generate', NULL, result), "
    "error, labels, origins, outcome, NULL, input_tokens, output_tokens, money, started, seconds, waited FROM call "
    "WHERE pid = ?1 AND seq < ?2 AND name IN ('receive', 'generate', 'call', 'send') ORDER BY seq DESC LIMIT ?3",
    "desk.trace": f"WITH RECURSIVE {BELOW} SELECT n, call.pid, seq, turn, name, outcome, started, seconds, waited, "
    "input_tokens, output_tokens, money, length(coalesce(origins, '')) > 2, "
    "CASE WHEN name IN ('call', 'intent', 'spawn', 'send') THEN args WHEN name = 'generate' THEN decision END "
    "FROM call JOIN below USING (pid) WHERE n > ?2 AND (?3 IS NULL OR principal = ?3) ORDER BY n LIMIT ?4",
    "desk.below": f"WITH RECURSIVE {BELOW} SELECT pid, parent, name, status FROM process JOIN below USING (pid) "
    "WHERE ?2 IS NULL OR principal = ?2 ORDER BY pid",
    "process.alive": f"SELECT {AGENT} AS agent, sum(instr(name, '@') = 0), sum(instr(name, '@') > 0) FROM process "
    "WHERE tenant = ?1 AND name >= ?2 AND name < ?3 AND instr(name, '~') = 0 "
    f"AND (?4 IS NULL OR instr(name, '@') = 0 OR principal IN (?4, '*')) AND {LIVING} GROUP BY 1",
    "process.children": f"SELECT pid FROM process WHERE parent = ? AND parent > 0 AND {LIVING} ORDER BY pid",
    "process.open": "SELECT pid, turn FROM open_turn",
    "process.last": "SELECT coalesce(max(pid), 0) FROM process",
    "account.list": "SELECT account, resource, period, used FROM account "
    "WHERE account >= ?1 || '/' AND account < ?1 || '0' UNION ALL "
    "SELECT account, resource, period, used FROM account JOIN process ON account = 'process/' || pid WHERE tenant = ?1",
    "account.get": "SELECT resource, used FROM account WHERE account = ? AND period = ?",
    "call.after": f"SELECT {CALL} FROM call WHERE pid = ? AND seq > ? ORDER BY seq",
    "call.tools": f"SELECT {CALL} FROM call WHERE pid = ? AND seq > ? AND name IN ('call', 'intent') ORDER BY seq",
    "call.page": f"SELECT {CALL} FROM call WHERE pid = ? AND seq > ? ORDER BY seq LIMIT ?",
    "call.since": "SELECT coalesce(max(seq), ?2), "
    "count(*) FILTER (WHERE name NOT IN (SELECT value FROM json_each(?3))), "
    "coalesce(sum(input_tokens), 0), coalesce(sum(output_tokens), 0), coalesce(sum(cached_tokens), 0), "
    "coalesce(sum(money), 0.0), "  # and seconds, in which nobody was asked and the system ran
    "coalesce(min(sum(seconds) FILTER (WHERE coalesce(labels, '') NOT LIKE '%\"asked:%'), "
    "max(started + seconds) - min(started)), 0.0) FROM call WHERE pid = ?1 AND seq > ?2",
    "call.page_of": f"SELECT {CALL} FROM call WHERE pid = ? AND seq > ? AND principal = ? ORDER BY seq LIMIT ?",
    "call.starts": f"SELECT {CALL} FROM call WHERE pid = ? AND name IN ('trigger_start', 'trigger_skip') "
    "ORDER BY seq DESC LIMIT ?",
    "call.below": "WITH RECURSIVE below(pid) AS ("
    "SELECT pid FROM (SELECT pid FROM process WHERE parent = ?1 AND parent > 0 ORDER BY pid DESC LIMIT 100) "
    "UNION ALL SELECT process.pid FROM process JOIN below ON parent = below.pid WHERE parent > 0) "
    "SELECT args, decision, started, started + seconds FROM call JOIN below USING (pid) "
    "WHERE name = 'call' AND started + seconds >= ?2",
    "call.feed": f"SELECT n, {CALL} FROM call WHERE n > ? ORDER BY n LIMIT ?",
    "call.newest": "SELECT coalesce(max(n), 0) FROM call",
    "audit.waiting": "SELECT pid, seq FROM call WHERE n > ?",
    "audit.tools": f"SELECT n, {CALL} FROM call WHERE name = 'call' AND pid = coalesce(?, pid) ORDER BY n DESC LIMIT ?",
    "audit.row": f"SELECT {CALL} FROM call WHERE pid = ? AND seq = ?",
    "audit.records": "SELECT space, key, max(version), value FROM record WHERE space NOT LIKE 'vault%' "
    "AND space != 'response' AND space NOT LIKE '%/response' GROUP BY space, key",
    "audit.processes": "SELECT pid, parent, name, program, tenant, principal, args, budget, supervision, nice, held "
    "FROM process WHERE program != 'service'",
    "audit.processes_of": "SELECT pid, parent, name, program, tenant, principal, args, budget, supervision, nice, held "
    "FROM process WHERE pid IN (SELECT value FROM json_each(?))",
    "audit.awake": f"SELECT pid FROM process WHERE status IN ('running', 'paused') AND {AWAKE} "
    "AND program != 'service'",
    "audit.strayed": "SELECT p.pid FROM process AS p JOIN call AS c ON c.pid = p.pid AND c.seq = coalesce((SELECT seq "
    "FROM call WHERE pid = p.pid AND seq <= p.upto AND name IN ('idle', 'exit') ORDER BY seq DESC LIMIT 1), 0) "
    "WHERE c.result IS NOT NULL "  # otherwise it was erased
    "AND iif(c.name = 'idle', p.state, p.result) IS NOT c.result",
    "audit.count": "SELECT count(*) FROM call",
    "audit.keys": "SELECT pid, seq FROM call",
    "message.boxes": "SELECT DISTINCT box FROM message WHERE taken = 0 AND box >= 'pid/' AND box < 'pid0'",
    "message.first": f"SELECT {MESSAGE} FROM message WHERE box = ? AND taken = 0 ORDER BY n LIMIT ?",
    "message.unanswered": f"SELECT {MESSAGE} FROM message AS asked WHERE box = ? AND reply_to IS NOT NULL "
    "AND NOT EXISTS (SELECT 1 FROM message WHERE box = asked.reply_to AND taken = 0)",
    "message.waiting": "SELECT n FROM message WHERE tenant = ? AND id = ? AND box = ? AND taken = 0",
    "message.newest": "SELECT coalesce(max(n), 0) FROM message",
    "topic.after": f"SELECT {MESSAGE} FROM message WHERE box = ? AND tenant = ? AND n > ? AND taken = 0 "
    "ORDER BY n LIMIT ?",
    "topic.these": f"SELECT {MESSAGE} FROM message WHERE box = ? AND +tenant = ? "  # +: not all that a tenant has
    "AND n IN (SELECT value FROM json_each(?)) ORDER BY n",
    "topic.count": "SELECT count(*) FROM message WHERE box = ? AND taken = 0 AND n > ?",
    "topic.boxes": "SELECT box, count(*) FROM message WHERE taken = 0 AND box > ? AND box < ? GROUP BY box",
    "message.count": "SELECT count(*) FROM message WHERE box = ? AND taken = 0",
    "message.get": f"SELECT {MESSAGE} FROM message WHERE tenant = ? AND id = ?",
    "blob.get": "SELECT data FROM blob WHERE hash = ?",
    "file.of": "SELECT 1 FROM file WHERE hash = ?1 AND tenant = ?2 AND (?3 IS NULL OR principal IN (?3, '*'))",
    "record.get": "SELECT version, value FROM record WHERE space = ? AND key = ? ORDER BY version DESC LIMIT 1",
    "record.list": "SELECT key, max(version), value FROM record WHERE space = ? AND key > ? GROUP BY key ORDER BY key "
    "LIMIT ?",
    "record.history": "SELECT version, value, at FROM record WHERE space = ? AND key = ? ORDER BY version DESC",
    "record.size": "SELECT count(DISTINCT key), coalesce(sum(length(value)), 0) FROM record WHERE space = ?",
    "record.spaces": "SELECT DISTINCT space FROM record WHERE space > ? AND space < ?",
    "record.keys": "SELECT DISTINCT key FROM record WHERE space = ?",
    "record.from": "SELECT key FROM record WHERE space = ? AND key >= ? ORDER BY key, version LIMIT ?",
    "record.before": "SELECT key FROM record WHERE space = ? AND key < ? ORDER BY key DESC, version DESC LIMIT ?",
    "record.all": "SELECT space, key, value FROM record",
    "know.places": "SELECT place, tenant, agent, principal FROM place",
    "know.newest": "SELECT coalesce((SELECT max(document) FROM document), 0), max("
    "coalesce((SELECT last FROM document WHERE document = (SELECT max(document) FROM document)), 0), "
    "coalesce((SELECT max(passage) FROM passage), 0))",
    "know.documents": f"SELECT {DOCUMENT} FROM document WHERE {SOUGHT} AND document > ?6 ORDER BY document LIMIT ?7",
    "know.ranges": f"SELECT first, last FROM document WHERE {SOUGHT} AND last >= first ORDER BY first",
    "know.of": f"SELECT {DOCUMENT} FROM document WHERE place = ? AND source = ?",
    "know.hash": "SELECT min(hash) FROM document WHERE place = ? AND source = ?",
    "know.said": "SELECT source, min(hash), tags, origins FROM document WHERE place = ? AND source = ? GROUP BY source",
    "know.sources": "SELECT source, min(hash), tags, origins FROM document "
    "WHERE place = ?1 AND substr(source, 1, length(?2)) = ?2 GROUP BY source",
    "know.stretches": "SELECT begin, text FROM passage WHERE passage BETWEEN ? AND ? ORDER BY passage",
    "know.texts": "SELECT passage, text FROM passage WHERE passage BETWEEN ? AND ? ORDER BY passage",
    "know.passages": "SELECT passage, begin, text, document, place, source, title, tags, origins, at "
    "FROM json_each(?) JOIN passage ON passage = value JOIN document USING (document)",
    "know.segments": "SELECT place, first, last, passages, rev FROM json_each(?) CROSS JOIN segment ON place = value "
    "ORDER BY place, first",
    "know.segment": "SELECT data FROM segment WHERE place = ? AND first = ?",
    "know.unfound": "SELECT place FROM place AS one "
    "WHERE EXISTS (SELECT 1 FROM document WHERE place = one.place AND last >= first) "
    "AND NOT EXISTS (SELECT 1 FROM segment WHERE place = one.place)",
    "memory.was": "SELECT text, origins, at, until FROM earlier WHERE place = ? AND source = ? "
    "ORDER BY at DESC, n DESC",
    "fact.all": f"SELECT {PLAIN_FACT} FROM json_each(?) CROSS JOIN fact ON place = value",
    "fact.of": f"SELECT {FACT} FROM json_each(?) CROSS JOIN fact ON fact = value",
    "fact.list": f"SELECT {FACT} FROM fact WHERE place IN (SELECT value FROM json_each(?1)) "
    "AND (?2 IS NULL OR subject = ?2) AND (?3 IS NULL OR predicate = ?3) AND (?4 IS NULL OR source = ?4) "
    "AND fact > ?5 ORDER BY fact LIMIT ?6",
    "fact.from": f"SELECT {FACT} FROM fact WHERE place = ? AND source = ? AND document IS ?",
    "fact.places": "SELECT place FROM place AS one WHERE EXISTS (SELECT 1 FROM fact WHERE place = one.place) "
    "OR EXISTS (SELECT 1 FROM same WHERE place = one.place) OR EXISTS (SELECT 1 FROM ruleset WHERE place = one.place)",
    "fact.newest": "SELECT coalesce((SELECT max(fact) FROM fact), 0), coalesce((SELECT max(same) FROM same), 0)",
    "same.all": "SELECT same, kept, other, place, at FROM same WHERE place IN (SELECT value FROM json_each(?)) "
    "ORDER BY same",
    "rules.all": "SELECT name, text, place, added FROM ruleset WHERE place IN (SELECT value FROM json_each(?)) "
    "ORDER BY place, name",
    "person.processes": f"SELECT {PROCESS} FROM process WHERE tenant = ? AND principal = ? AND program != 'service'",
    "person.pids": "SELECT DISTINCT pid FROM call WHERE tenant = ? AND principal = ?",
    "person.calls": f"SELECT {CALL}, n FROM call WHERE pid = ? AND tenant = ? AND principal = ? ORDER BY seq",
    "person.messages": f"SELECT {MESSAGE} FROM message WHERE tenant = ? AND principal = ? ORDER BY n",
    "erase.pids": "SELECT pid FROM process WHERE tenant = ?1 AND program != 'service' AND (principal = ?2 OR "
    "coalesce(state, x'6e756c6c') != x'6e756c6c' AND pid IN "
    "(SELECT pid FROM call WHERE tenant = ?1 AND principal = ?2))",
    "erase.keys": "SELECT pid, seq FROM call WHERE tenant = ? AND principal = ? "
    "UNION SELECT pid, seq FROM call WHERE pid IN (SELECT value FROM json_each(?)) "
    f"UNION SELECT pid, seq FROM call WHERE {ABOUT}",
    "retain.idle": f"SELECT pid FROM process INDEXED BY process_named WHERE name IS NOT NULL AND {LIVING} "
    f"AND status = 'waiting' AND name LIKE '%@%' AND {AGE} < ?",
    "retain.ended": f"SELECT pid FROM process WHERE status IN ('stopped', 'done') AND {AWAKE} AND {AGE} < ? "
    f"AND pid < (SELECT max(pid) FROM process) AND pid IS NOT (SELECT pid FROM call WHERE n = {NEWEST}) AND NOT EXISTS "
    "(SELECT 1 FROM process AS child WHERE child.parent = process.pid AND child.parent > 0) LIMIT 100",
    "retain.long": f"SELECT pid, min({KEPT}, {FIRST.format('seq')} + 1000) FROM process "
    f"WHERE {FIRST.format('seq')} < {KEPT} AND {FIRST.format('started')} < ? LIMIT 100",
    "retain.keys": "SELECT pid, seq FROM call WHERE pid = ? AND seq < ? AND started < ?",
    "retain.messages": f"SELECT count(*) FROM ({OLD_MESSAGES})",
    "retain.accounts": f"SELECT count(*) FROM account WHERE {OVER}",
    "retain.records": f"SELECT count(*) FROM record WHERE {RESPONSES}",
    "retain.approvals": f"SELECT count(*) FROM record WHERE {ANSWERED}",
    "retain.versions": f"SELECT count(*) FROM record WHERE {REPLACED}",
}
