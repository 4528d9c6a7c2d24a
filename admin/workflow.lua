-- The approval workflow: every step of a request, run whole by Redis or not
-- at all.
--
--     EVALSHA <sha> 0 <action> <arguments, a JSON object>
--
-- Time is Redis TIME in milliseconds.  A request past its deadline is over for
-- whoever looks or acts, whether or not "sweep" has written that yet.
--
-- Keys ({T} is the tenant in literal braces, T:id the tenant, a colon, the id):
--   lockbox:{T}:request:<id>      hash, kept for "retention" after the end
--   lockbox:{T}:requests          zset of id by place
--   lockbox:requests              zset of T:id by place, all tenants
--   lockbox:engineer:<sha1 hex of iss, newline, sub>
--                                 zset of T:id by place, one engineer's
--   these three, a colon, a state that can still change
--                                 the same, of those that are in it
--   lockbox:{T}:open:<sha1 as above>
--                                 zset of id by answer_by, one engineer's that
--                                 are not approved yet
--   lockbox:deadlines             zset of T:id by the time that ends the state
--   lockbox:grant:{T}:<id>        the live key: there while the grant is good
--   lockbox:{T}:collected:<id>    there while to collect it again is no event
--   lockbox:{T}:policy            hash, the tenant's policy
--   lockbox:{T}:audit             stream, an entry for some audit records, and
--   lockbox:workers               hash of who writes them: both trail.lua's
--   lockbox:events                stream, an entry for each step
--   lockbox:{T}:events            the same entries, of one tenant
--   lockbox:engineer:<sha1>:events
--                                 the same entries, of one engineer's requests
--   lockbox:forgotten             hash by stream of events: how many entries it
--                                 has dropped, a blank, the last one's id
-- and the channel lockbox:wake, where an empty message says that there is
-- another entry.
--
-- Events: filed approved denied asked answered cancelled completed revoked
-- collected, and lapsed expired, which are nobody's (empty iss and sub);
-- policy_changed has no id and no state.  With "preapproval", its name, an
-- approval is that of whoever gave it beforehand.
--
-- Fields of an event, all text: event tenant at (ms) iss sub, and of the
-- request as it then is id state version engineer_iss engineer_sub.  "stage"
-- is the stage whose approval is still needed; "opens" names it when the event
-- is what asks for it, and "settles" a stage that needs no more answers: what
-- was sent because of the event that opened it can be withdrawn.
-- "preapproval" names what stood in for somebody.  What is empty is left out.
-- An event has the same id in all streams, and in each stream ids only grow.
--
-- Fields of a request, all text, absent until they mean something:
--   id tenant state version engineer_iss engineer_sub justification reason
--   ticket duration (s) access (JSON, opaque here) created_at answer_by (of
--   whoever is or was last waited for) lapses_at (whatever happens before the
--   approval) approved_at starts_at expires_at ended_at (ms)
--   extends (id of the request of the same engineer and tenant that it goes on
--   from)
--   asked_by_stage (whose question is open; empty: none) remaining (ms
--   that stage has left when it is)
--   decisions (how many) decision:0 .. decision:n-1 (JSON; of interest here
--   are "stage", "decision" and "by", {"iss", "sub"}; the first is the filing)
-- "version" counts the steps that changed something.  What time has ended
-- shows "ended_stage" besides: the stage whose approval was missing, if any.
--
-- The place of a request is when it was filed, in microseconds; it never
-- changes, and no two requests have the same.
--
-- Fields of a policy: version, and the last 16 as they were set, each in
-- policy:<version modulo 16> (JSON, opaque here but for "by").  None is
-- version 0.  What is decided by a policy says by which version, and is not
-- done by another.
--
-- Actions and the shapes of their arguments are the table at the end.
-- Arguments of another shape are an error.
--
-- Answers:
--   one request  { result, { field, value, ... }, { action, ... } }: fields
--                and the actions the actor may take now, both empty for
--                whoever may not see the request
--   list         { result, cursor of the next page or "", { { fields,
--                actions }, ... } }, the fields without the filing's
--                decision, and the others' seals empty
--   due          { "ok", { { tenant, id }, ... } }
--   policy       { result, { field, value, ... }, {} }: the version, and those
--                that are there as policy:<version>
--   audit        { result, cursor of the next page or "", { record, ... },
--                time up to which all workers that are heard of have written
--                (ms) or "", { worker, time (ms), ... } for all others }
--   events       { result, cursor, { { id, { field, value, ... } }, ... },
--                "gap" when there were more behind the cursor that was sent,
--                which are gone, or "" }
--
-- One request and a policy have a fourth member where something happened: the
-- events that were announced, in the form of "events".
--
-- Results, in the order in which they are found: not_found (also when not
-- visible), forbidden_role, own_request, conflict (state), same_person,
-- conflict (version), stale_policy (decided by another version of it), clock
-- (decided_at is not Redis's time), invalid_extends (nothing that this request
-- could extend), too_many_requests (of one engineer and tenant, not approved
-- yet), ok; for pages invalid_cursor, ok.

local LARGEST_SKEW = 5000
local EVENTS_KEPT = 100000
local EVENTS_KEPT_OF_ONE = 10000
local DROPPED_AT_ONCE = 100
local COLLECTED_EVERY = 3600000
local EXAMINED = 500
local LONGEST_PAGE = 100
local POLICIES_KEPT = 16
local READ_AT_ONCE = 100

-- Of records: bytes of a page, entries that are read at once, and after how
-- long a worker that gives no sign of life is no longer waited for.
local LARGEST_PAGE = 1000000
local ENTRIES_AT_ONCE = 10
local LONGEST_SILENCE = 30000

-- Sums and products of such numbers are still times that Redis takes.
local LARGEST = 1e14

-- Before the seal of a decision; within a text it would be escaped.
local SEAL = '"seal":"'

local TENANT = '^[%w._-]+$'
local ID = '^[%x-]+$'

local DEADLINES = 'lockbox:deadlines'
local REQUESTS = 'lockbox:requests'
local EVENTS = 'lockbox:events'
local FORGOTTEN = 'lockbox:forgotten'
local WAKE = 'lockbox:wake'

-- The states that can still change: whose decision they wait for, the field
-- with their deadline, and what they become by it.  All others are ends.
local STATES = {
    awaiting_manager = {
        stage = 'manager', due = 'answer_by', overdue = 'lapsed'
    },
    awaiting_customer = {
        stage = 'customer', due = 'answer_by', overdue = 'lapsed'
    },
    needs_info = {
        due = 'answer_by', overdue = 'lapsed'
    },
    approved = {
        due = 'expires_at', overdue = 'expired'
    }
}

-- What a request may have become for another one to extend it.
local EXTENDABLE = { approved = true, expired = true, completed = true }

-- Who may take which step, by state.  A step that judges is a decision on the
-- request, or a question of those who may decide: not for its engineer, and
-- not for whoever has decided.  To revoke is none, because whoever may end
-- access may always end it.  The asker is the stage that has asked.  With
-- "most" a step can be taken so often, and with "begins" it says from when.
-- A step that is ruled depends on the tenant's policy.
local TRANSITIONS = {
    { name = 'approve', judges = true, begins = true, ruled = true, from = {
        awaiting_manager = { 'manager' },
        awaiting_customer = { 'customer' }
    } },
    { name = 'deny', judges = true, from = {
        awaiting_manager = { 'manager' },
        awaiting_customer = { 'customer' },
        needs_info = { 'asker' }
    } },
    { name = 'ask', judges = true, most = 8, from = {
        awaiting_manager = { 'manager' },
        awaiting_customer = { 'customer' }
    } },
    { name = 'answer', from = { needs_info = { 'engineer' } } },
    { name = 'cancel', from = {
        awaiting_manager = { 'engineer' },
        awaiting_customer = { 'engineer' },
        needs_info = { 'engineer' }
    } },
    { name = 'complete', from = { approved = { 'engineer' } } },
    { name = 'revoke', from = { approved = { 'manager', 'customer' } } },
    { name = 'grant', from = { approved = { 'engineer' } } }
}

-- Who sweeps: sees everything, may do nothing.
local NOBODY = { iss = '', sub = '', roles = { auditor = true } }

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

-- Managers that must approve, as far as the caller says how many.
local managers_needed = 0


local function fail(reason)
    error({ err = 'ERR lockbox workflow: ' .. reason })
end


local function digits(number)
    return string.format('%.0f', number)
end


-- Keys

local function request_key(tenant, id)
    return 'lockbox:{' .. tenant .. '}:request:' .. id
end


local function live_key(tenant, id)
    return 'lockbox:grant:{' .. tenant .. '}:' .. id
end


local function collected_key(fields)
    return 'lockbox:{' .. fields.tenant .. '}:collected:' .. fields.id
end


local function events_key(tenant)
    return 'lockbox:{' .. tenant .. '}:events'
end


local function policy_key(tenant)
    return 'lockbox:{' .. tenant .. '}:policy'
end


local function tenant_index(tenant)
    return 'lockbox:{' .. tenant .. '}:requests'
end


local function name_of(person)
    return redis.sha1hex(person.iss .. '\n' .. person.sub)
end


local function engineer_index(person)
    return 'lockbox:engineer:' .. name_of(person)
end


local function open_index(fields)
    return 'lockbox:{' .. fields.tenant .. '}:open:'
           .. name_of({ iss = fields.engineer_iss, sub = fields.engineer_sub })
end


-- Of the requests of an index, those that are in a state.
local function state_index(index, state)
    return index .. ':' .. state
end


local function engineer_events(person)
    return engineer_index(person) .. ':events'
end


local function member_of(request)
    return request.tenant .. ':' .. request.id
end


-- Tenant and id of a member; those of a tenant's own index are bare ids.
-- Anything else leads to a request that does not exist.
local function split(member, tenant)
    if tenant then
        return tenant, member
    end

    local owner, id = string.match(member, '^([^:]+):(.+)$')

    return owner or '', id or member
end


-- Writing: everything is planned first.  Once the first command has changed
-- something there is no way back, so what could stop a later one is looked at
-- before.

local KIND = { HSET = 'hash', ZADD = 'zset', ZREM = 'zset', XADD = 'stream' }

local plan = {}
local changed = {}

-- By key of a request, the state of which the indexes have it.
local indexed_in = {}


local function write(...)
    plan[#plan + 1] = { ... }
end


local function commit()
    for _, command in ipairs(plan) do
        local expected = KIND[command[1]]
        local found = redis.call('TYPE', command[2]).ok

        if expected and found ~= 'none' and found ~= expected then
            fail(command[1] .. ' on a key of type ' .. found)
        end

        if not redis.acl_check_cmd(unpack(command)) then
            fail('no permission for ' .. command[1])
        end
    end

    for _, command in ipairs(plan) do
        redis.call(unpack(command))
    end
end


local function set(fields, changes)
    for name, value in pairs(changes) do
        fields[name] = value
        changed[name] = value
    end
end


local function indexes_of(fields)
    local person = { iss = fields.engineer_iss or '',
                     sub = fields.engineer_sub or '' }

    return {
        { index = REQUESTS, member = member_of(fields) },
        { index = engineer_index(person), member = member_of(fields) },
        { index = tenant_index(fields.tenant), member = fields.id,
          tenant = fields.tenant }
    }
end


local function place_of(fields)
    return redis.call('ZSCORE', REQUESTS, member_of(fields))
           or digits((tonumber(fields.created_at) or 0) * 1000)
end


-- What takes memory comes first, so that a full Redis lets only end.
local function move_in_indexes(fields, place)
    local key = request_key(fields.tenant, fields.id)
    local left, state = indexed_in[key], fields.state
    local indexes = indexes_of(fields)

    for _, entry in ipairs(STATES[state] and indexes or {}) do
        write('ZADD', state_index(entry.index, state),
              place or place_of(fields), entry.member)
    end

    for _, entry in ipairs(left ~= state and STATES[left] and indexes or {}) do
        write('ZREM', state_index(entry.index, left), entry.member)
    end

    indexed_in[key] = state
end


-- Plans the hash and what follows from its state.  What frees memory comes
-- first: a full Redis allows it, and then also what comes behind it, so that
-- access can be ended there.
local function save(fields, args, place)
    local key = request_key(fields.tenant, fields.id)
    local member = member_of(fields)
    local state = STATES[fields.state]
    local ends_at = state and fields[state.due] or fields.ended_at
    local command = { 'HSET', key }

    if not state then
        write('DEL', live_key(fields.tenant, fields.id))
    end

    move_in_indexes(fields, place)

    if state and fields.state ~= 'approved' then
        write('ZADD', open_index(fields), ends_at, fields.id)
    else
        write('ZREM', open_index(fields), fields.id)
    end

    if state then
        write('ZADD', DEADLINES, ends_at, member)
    else
        write('ZREM', DEADLINES, member)
    end

    for name, value in pairs(changed) do
        command[#command + 1] = name
        command[#command + 1] = value
    end

    write(unpack(command))
    write('PEXPIREAT', key, digits(tonumber(ends_at) + args.retention))
end


-- Events

-- The time and the place of an entry's id, nil if it is none.
local function parts_of(id)
    local time, place = string.match(id, '^(%d+)-(%d+)$')

    if time and #time <= 15 and #place <= 15 then
        return { time = tonumber(time), place = tonumber(place) }
    end
end


local function id_of(parts)
    return digits(parts.time) .. '-' .. digits(parts.place)
end


local function is_later(a, b)
    return a.time > b.time or (a.time == b.time and a.place > b.place)
end


local function as_fields(flat)
    local fields = {}

    for i = 1, #flat, 2 do
        fields[flat[i]] = flat[i + 1]
    end

    return fields
end


-- What Redis says of a stream, with the last id that it has given.
local function look_at(stream)
    local info = {}

    if redis.call('TYPE', stream).ok == 'stream' then
        info = as_fields(redis.call('XINFO', 'STREAM', stream))
    end

    info.last = parts_of(info['last-generated-id'] or '0-0')
                or fail('no more ids in ' .. stream)
    info.length = info.length or 0
    info.gone = (info['entries-added'] or 0) - info.length

    return info
end


-- The last id that any of these streams has given.
local function last_of(streams)
    local last = { time = 0, place = 0 }

    for _, stream in ipairs(streams) do
        local id = look_at(stream).last

        last = is_later(id, last) and id or last
    end

    return last
end


-- The stage whose approval a request as it was read needs.
local asked = {}
local announced = {}
local last_announced = { time = 0, place = 0 }


-- The stage whose approval is needed next, also while its question is open.
local function stage_of(fields)
    local state = STATES[fields.state]

    if fields.state == 'needs_info' then
        return fields.asked_by_stage
    end

    return state and state.stage
end


local function streams_about(fields)
    local streams = { [EVENTS] = EVENTS_KEPT,
                      [events_key(fields.tenant)] = EVENTS_KEPT }

    if fields.engineer_iss then
        streams[engineer_events({ iss = fields.engineer_iss,
                                  sub = fields.engineer_sub })]
            = EVENTS_KEPT_OF_ONE
    end

    return streams
end


-- The smallest id that is later than all others, and not earlier than now.
local function next_id(streams)
    local names = {}

    for name in pairs(streams) do
        names[#names + 1] = name
    end

    local last = last_of(names)

    if is_later(last_announced, last) then
        last = last_announced
    end

    if last.time < now then
        return { time = now, place = 0 }
    end

    return { time = last.time, place = last.place + 1 }
end


-- The oldest that is kept beside another entry.  What is dropped is noted:
-- whoever has not read it by then must be told.
local function oldest_kept(stream, kept)
    local info = look_at(stream)

    if info.length < kept + DROPPED_AT_ONCE then
        return '0-0'
    end

    local oldest = redis.call('XRANGE', stream, '-', '+', 'COUNT',
                              DROPPED_AT_ONCE + 1)

    write('HSET', FORGOTTEN, stream, digits(info.gone + DROPPED_AT_ONCE) .. ' '
                                     .. oldest[DROPPED_AT_ONCE][1])

    return oldest[DROPPED_AT_ONCE + 1][1]
end


local function announce(event, fields, actor)
    local streams = streams_about(fields)
    local id = next_id(streams)
    local before, stage = asked[fields], stage_of(fields)
    local entry = { 'event', event, 'tenant', fields.tenant,
                    'at', digits(now), 'iss', actor.iss, 'sub', actor.sub }

    local function add(name, value)
        if value and value ~= '' then
            entry[#entry + 1] = name
            entry[#entry + 1] = value
        end
    end

    for _, name in ipairs({ 'id', 'state', 'version', 'engineer_iss',
                            'engineer_sub' })
    do
        add(name, fields[name])
    end

    add('stage', stage)
    add('opens', stage ~= before and stage)
    add('settles', stage ~= before and before)
    add('preapproval', actor.preapproval)

    for stream, kept in pairs(streams) do
        write('XADD', stream, 'MINID', oldest_kept(stream, kept), id_of(id),
              unpack(entry))
    end

    write('PUBLISH', WAKE, '')

    asked[fields] = stage
    announced[#announced + 1] = { id_of(id), entry }
    last_announced = id
end


-- Reading

-- An open state without a readable deadline is over, too.
local function effective(fields)
    local state = STATES[fields.state]
    local ends_at = state and tonumber(fields[state.due])

    if state and not (ends_at and now < ends_at) then
        fields.ended_at = digits(ends_at or now)
        fields.ended_stage = stage_of(fields)
        fields.asked_by_stage = ''
        fields.state = state.overdue
    end

    return fields
end


local function is(fields, tenant, id)
    return fields.state and fields.tenant == tenant and fields.id == id
end


-- The request as it is written; nil when it is not there.
local function read(tenant, id)
    local key = request_key(tenant, id)
    local flat = redis.call('HGETALL', key)
    local fields = {}

    for i = 1, #flat, 2 do
        fields[flat[i]] = flat[i + 1]
    end

    indexed_in[key] = fields.state
    asked[fields] = stage_of(fields)

    return is(fields, tenant, id) and fields or nil
end


-- The request as it stands.
local function find(tenant, id)
    local fields = read(tenant, id)

    return fields and effective(fields)
end


local GLANCED = { 'id', 'tenant', 'state', 'engineer_iss', 'engineer_sub',
                  'answer_by', 'expires_at' }


-- As much of it as tells whether a list shows it.
local function glance(tenant, id)
    local values = redis.call('HMGET', request_key(tenant, id),
                              unpack(GLANCED))
    local fields = {}

    for i, name in ipairs(GLANCED) do
        fields[name] = values[i]
    end

    return is(fields, tenant, id) and effective(fields)
end


-- By its text, which may be looked at for one step after the other.
local decoded = {}


-- What people decided, without the filing.
local function decisions_of(fields)
    local list = {}

    for i = 1, tonumber(fields.decisions) - 1 do
        local text = fields['decision:' .. i]

        decoded[text] = decoded[text] or cjson.decode(text)
        list[i] = decoded[text]
    end

    return list
end


-- The version of a policy, as text: "0" when none is set.
local function policy_version(tenant)
    return redis.call('HMGET', policy_key(tenant), 'version')[1] or '0'
end


-- Permission

local function same_person(a, b)
    return a.iss == b.iss and a.sub == b.sub
end


local function is_engineer_of(fields, actor)
    return fields.engineer_iss == actor.iss
           and fields.engineer_sub == actor.sub
end


-- The roles that the actor has towards this request.
local function roles_on(fields, actor)
    local roles = actor.roles
    local on = {
        engineer = roles.engineer and is_engineer_of(fields, actor),
        manager = roles.manager,
        customer = roles.customer and actor.tenant == fields.tenant,
        auditor = roles.auditor and (not actor.tenant
                                     or actor.tenant == fields.tenant)
    }

    on.asker = on[fields.asked_by_stage]

    return on
end


local function visible(fields, actor)
    local roles = roles_on(fields, actor)

    return roles.engineer or roles.manager or roles.customer or roles.auditor
end


local function has_one(roles, names)
    for _, name in ipairs(names or {}) do
        if roles[name] then
            return true
        end
    end

    return false
end


local function has_part(roles, step)
    for _, names in pairs(step.from) do
        if has_one(roles, names) then
            return true
        end
    end

    return false
end


local function has_judged(fields, actor)
    for _, taken in ipairs(decisions_of(fields)) do
        if (taken.decision == 'approve' or taken.decision == 'deny')
           and same_person(taken.by, actor)
        then
            return true
        end
    end

    return false
end


local function times_taken(fields, name)
    local count = 0

    for _, taken in ipairs(decisions_of(fields)) do
        if taken.decision == name then
            count = count + 1
        end
    end

    return count
end


local function approvals(fields, stage)
    local count = 0

    for _, taken in ipairs(decisions_of(fields)) do
        if taken.decision == 'approve' and taken.stage == stage then
            count = count + 1
        end
    end

    return count
end


-- More managers may be needed by now than were when it was their turn, which
-- does not come again.
local function has_too_few(step, fields)
    return step.name == 'approve' and stage_of(fields) == 'customer'
           and approvals(fields, 'manager') < managers_needed
end


-- Why somebody who sees the request may not take the step now, or nil.
local function refusal(step, fields, actor)
    local roles = roles_on(fields, actor)

    if not has_part(roles, step) then
        return 'forbidden_role'
    end

    if step.judges and is_engineer_of(fields, actor) then
        return 'own_request'
    end

    if not has_one(roles, step.from[fields.state]) then
        return 'conflict'
    end

    if step.judges and has_judged(fields, actor) then
        return 'same_person'
    end

    if step.most and times_taken(fields, step.name) >= step.most
       or has_too_few(step, fields)
    then
        return 'conflict'
    end
end


-- When a request that extends another one begins unless it is approved later:
-- at the other's end, as long as that is good.
local function begins_of(fields)
    local old = fields.extends and find(fields.tenant, fields.extends)

    if old and old.state == 'approved' then
        return math.floor(tonumber(old.expires_at) / 1000)
    end
end


-- Was it decided on something else than what stands?
local function is_stale(step, fields, args)
    if step.begins and args.begins ~= begins_of(fields) then
        return true
    end

    if args.version and digits(args.version) ~= fields.version then
        return true
    end

    return step.judges and cjson.decode(args.decision).stage
                           ~= stage_of(fields)
end


-- Whoever says no version has decided by none.
local function is_ruled_otherwise(tenant, args)
    return digits(args.policy or 0) ~= policy_version(tenant)
end


local function is_skewed(args)
    return args.decided_at and math.abs(args.decided_at - now) > LARGEST_SKEW
end


-- Answers

local function flatten(fields)
    local flat = {}

    for name, value in pairs(fields) do
        flat[#flat + 1] = name
        flat[#flat + 1] = value
    end

    return flat
end


-- Of what nobody is shown, without the filing and the seals: in a long list
-- they would be most of what is sent.
local function shorten(fields)
    for i = 1, (tonumber(fields.decisions) or 1) - 1 do
        local name = 'decision:' .. i
        local text = fields[name] or ''
        local _, last = string.find(text, SEAL, 1, true)
        local quote = last and string.find(text, '"', last + 1, true)

        if quote then
            fields[name] = string.sub(text, 1, last) .. string.sub(text, quote)
        end
    end

    fields['decision:0'] = nil

    return fields
end


local function actions_of(fields, actor)
    local names = {}

    for _, step in ipairs(TRANSITIONS) do
        if step.from[fields.state] and not refusal(step, fields, actor) then
            names[#names + 1] = step.name
        end
    end

    return names
end


local function answer(result, fields, actor)
    if not fields or not visible(fields, actor) then
        return { result, {}, {} }
    end

    effective(fields)

    return { result, flatten(fields), actions_of(fields, actor), announced }
end


-- Steps: each changes the fields and returns the event that it is, if any.

-- Where it was tampered with their number may be none, or too small a one.
local function record(fields, decision)
    local count = tonumber(fields.decisions) or 0

    while fields['decision:' .. digits(count)] do
        count = count + 1
    end

    set(fields, { ['decision:' .. digits(count)] = decision,
                  decisions = digits(count + 1) })
end


-- The stage has so many milliseconds, but no more than the request has.
local function open_stage(fields, state, within)
    local last = tonumber(fields.lapses_at) or now

    set(fields, { state = state, asked_by_stage = '',
                  answer_by = digits(math.min(now + within, last)) })
end


-- With a short window and a slow worker it may be over already: then the live
-- key is, too, and the deadline is due like any other.
local function open_window(fields, args)
    local begins = math.max(args.begins or 0,
                            math.floor(args.decided_at / 1000))
    local expires_at = (begins + args.duration) * 1000

    set(fields, { state = 'approved', approved_at = digits(args.decided_at),
                  starts_at = digits(begins * 1000),
                  expires_at = digits(expires_at) })
    write('SET', live_key(fields.tenant, fields.id), 'live',
          'PXAT', digits(expires_at))
end


local function approve(fields, args)
    local stage = STATES[fields.state].stage

    set(fields, { access = args.access, duration = digits(args.duration) })

    if approvals(fields, stage) < args.required[stage] then
        return 'approved'
    end

    if stage == 'manager' and args.required.customer > 0 then
        open_stage(fields, 'awaiting_customer', args.answer_within)
    else
        open_window(fields, args)
    end

    return 'approved'
end


-- Meanwhile the clock of the stage stands still, and that of the request runs.
local function ask(fields)
    set(fields, {
        state = 'needs_info', asked_by_stage = STATES[fields.state].stage,
        remaining = digits(tonumber(fields.answer_by) - now),
        answer_by = fields.lapses_at
    })

    return 'asked'
end


local function inform(fields)
    open_stage(fields, 'awaiting_' .. fields.asked_by_stage,
               tonumber(fields.remaining) or 0)

    return 'answered'
end


local function ends_as(state)
    return function(fields)
        set(fields, { state = state, asked_by_stage = '',
                      ended_at = digits(now) })

        return state
    end
end


-- Whoever collects it over and over tells nobody anything new, and would push
-- out what others have yet to read.  It is a write all the same: a replica,
-- which may not have heard of a revocation, takes none.
local function collect(fields)
    local key = collected_key(fields)
    local is_known = redis.call('EXISTS', key) == 1

    write('SET', key, '', 'PX', COLLECTED_EVERY, 'NX')

    return not is_known and 'collected' or nil
end


local function step_named(name)
    for _, step in ipairs(TRANSITIONS) do
        if step.name == name then
            return step
        end
    end
end


local function changes_to(fields, args, run)
    if args.decision then
        record(fields, args.decision)
    end

    local event = run(fields, args)

    if next(changed) then
        set(fields, {
            version = digits((tonumber(fields.version) or 0) + 1)
        })
        save(fields, args)
    end

    return event
end


-- What the customer has approved beforehand counts when the last manager
-- approves: a decision in the name of whoever did, and judged like any other.
local function stand_in(step, fields, args, run)
    local given = cjson.decode(args.preapproval)
    local author = {
        iss = given.by.iss, sub = given.by.sub, tenant = fields.tenant,
        roles = { [given.stage] = true }, preapproval = given.preapproval
    }

    if fields.state ~= 'awaiting_customer' or refusal(step, fields, author)
    then
        return
    end

    local after = setmetatable({ decision = args.preapproval },
                               { __index = args })

    announce(changes_to(fields, after, run), fields, author)
end


-- The action that takes a step of the table of transitions.
local function takes(name, run)
    local step = step_named(name)

    return function(args)
        local actor = args.actor
        local fields = find(args.tenant, args.id)

        if not fields or not visible(fields, actor) then
            return answer('not_found')
        end

        local refused = refusal(step, fields, actor)
                        or is_stale(step, fields, args) and 'conflict'
                        or step.ruled
                           and is_ruled_otherwise(fields.tenant, args)
                           and 'stale_policy'
                        or is_skewed(args) and 'clock'

        if refused then
            return answer(refused, fields, actor)
        end

        local state = fields.state

        local event = changes_to(fields, args, run)

        if event then
            announce(event, fields, actor)
        end

        if args.preapproval and state == 'awaiting_manager' then
            stand_in(step, fields, args, run)
        end

        commit()

        return answer('ok', fields, actor)
    end
end


-- The clock's, or the next one that is free.
local function new_place()
    local place = clock[1] * 1000000 + clock[2]

    while redis.call('ZCOUNT', REQUESTS, digits(place), digits(place)) > 0 do
        place = place + 1
    end

    return digits(place)
end


-- Entries outlive their requests.  Each filing takes up to two such entries
-- from the old end for the one that it adds, so that no index grows for ever.
local function add_to_indexes(fields, place)
    for _, entry in ipairs(indexes_of(fields)) do
        local index, tenant = entry.index, entry.tenant

        write('ZADD', index, place, entry.member)

        for _, oldest in ipairs(redis.call('ZRANGE', index, 0, 1)) do
            if redis.call('EXISTS', request_key(split(oldest, tenant))) == 0
            then
                write('ZREM', index, oldest)
            end
        end
    end
end


-- How many of them wait for somebody.  What is past its time does not count,
-- whether or not it has been swept.
local function count_open(index)
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', index, '-inf', digits(now),
                                   'LIMIT', 0, EXAMINED)) do
        write('ZREM', index, id)
    end

    return redis.call('ZCOUNT', index, '(' .. digits(now), '+inf')
end


-- What has not begun yet is not extended, or there were no end to it.
local function can_be_extended(request, actor)
    local old = find(request.tenant, request.extends)

    return old and is_engineer_of(old, actor) and EXTENDABLE[old.state]
           and (tonumber(old.starts_at) or LARGEST) <= now
end


local function file(args)
    local request, actor = args.request, args.actor

    if not actor.roles.engineer then
        return answer('forbidden_role')
    end

    if redis.call('EXISTS', request_key(request.tenant, request.id)) == 1 then
        return answer('conflict', find(request.tenant, request.id), actor)
    end

    if is_ruled_otherwise(request.tenant, args) then
        return answer('stale_policy')
    end

    if is_skewed(args) then
        return answer('clock')
    end

    local fields = {}
    local place = new_place()

    set(fields, {
        id = request.id,
        tenant = request.tenant,
        justification = request.justification,
        reason = request.reason,
        ticket = request.ticket,
        duration = digits(request.duration),
        access = request.access,
        extends = request.extends,
        engineer_iss = actor.iss,
        engineer_sub = actor.sub,
        created_at = digits(math.floor(place / 1000)),
        lapses_at = digits(now + args.lapses_within),
        version = '1',
        decisions = '1',
        ['decision:0'] = args.decision
    })

    if request.extends and not can_be_extended(request, actor) then
        return answer('invalid_extends')
    end

    if count_open(open_index(fields)) >= args.max_open then
        return answer('too_many_requests')
    end

    open_stage(fields, 'awaiting_manager', args.answer_within)

    save(fields, args, place)
    add_to_indexes(fields, place)
    announce('filed', fields, actor)
    commit()

    return answer('ok', fields, actor)
end


local function show(args)
    local fields = find(args.tenant, args.id)

    if not fields or not visible(fields, args.actor) then
        return answer('not_found')
    end

    return answer('ok', fields, args.actor)
end


-- Policies

local function sees_policy(actor, tenant)
    local roles = actor.roles
    local is_theirs = actor.tenant == tenant

    return roles.engineer or roles.manager or roles.customer and is_theirs
           or roles.auditor and (is_theirs or not actor.tenant)
end


local function policy_field(version)
    return 'policy:' .. digits(version % POLICIES_KEPT)
end


-- The last "count" versions that were set, as far as they are there.
local function answer_policy(result, tenant, count)
    local version = policy_version(tenant)
    local last = tonumber(version) or 0
    local flat = { 'version', version }

    for i = last, math.max(last - count + 1, 1), -1 do
        local value = redis.call('HMGET', policy_key(tenant),
                                 policy_field(i))[1]

        if value then
            flat[#flat + 1] = 'policy:' .. digits(i)
            flat[#flat + 1] = value
        end
    end

    return { result, flat, {}, announced }
end


local function policy(args)
    if not sees_policy(args.actor, args.tenant) then
        return answer('not_found')
    end

    return answer_policy('ok', args.tenant, args.count)
end


local function set_policy(args)
    local tenant, actor = args.tenant, args.actor

    if not sees_policy(actor, tenant) then
        return answer('not_found')
    end

    if not actor.roles.customer or actor.tenant ~= tenant then
        return answer('forbidden_role')
    end

    if digits(args.version) ~= policy_version(tenant) then
        return answer_policy('conflict', tenant, 0)
    end

    if is_skewed(args) then
        return answer('clock')
    end

    local version = digits(args.version + 1)

    write('HSET', policy_key(tenant), 'version', version,
          policy_field(args.version + 1), args.decision)
    announce('policy_changed',
             { tenant = tenant, id = '', state = '', version = version },
             actor)
    commit()

    return answer_policy('ok', tenant, POLICIES_KEPT)
end


-- Deadlines

local function can_be_swept(tenant, id)
    if not string.match(tenant, TENANT) or not string.match(id, ID) then
        return false
    end

    local kind = redis.call('TYPE', request_key(tenant, id)).ok

    return kind == 'hash' or kind == 'none'
end


-- What leads to no request would stand before all others for ever.
local function due(args)
    local members = redis.call('ZRANGEBYSCORE', DEADLINES, '-inf', digits(now),
                               'LIMIT', 0, args.limit)
    local found = {}

    for _, member in ipairs(members) do
        local tenant, id = split(member)

        if can_be_swept(tenant, id) then
            found[#found + 1] = { tenant, id }
        else
            write('ZREM', DEADLINES, member)
        end
    end

    commit()

    return { 'ok', found }
end


-- Any number of sweepers may come; one of them gets "ok".
local function sweep(args)
    local fields = read(args.tenant, args.id)

    if not fields then
        for state in pairs(STATES) do
            write('ZREM', state_index(REQUESTS, state), member_of(args))
            write('ZREM', state_index(tenant_index(args.tenant), state),
                  args.id)
        end

        write('ZREM', DEADLINES, member_of(args))
        commit()

        return answer('not_found')
    end

    local written = fields.state

    if effective(fields).state == written then
        return answer('conflict', fields, NOBODY)
    end

    set(fields, { state = fields.state, ended_at = fields.ended_at,
                  ended_stage = fields.ended_stage,
                  asked_by_stage = fields.asked_by_stage,
                  version = digits((tonumber(fields.version) or 0) + 1) })
    save(fields, args)
    announce(fields.state, fields, NOBODY)
    commit()

    return answer('ok', fields, NOBODY)
end


-- Lists
--
-- A list is read from indexes in which everything is the actor's to see: how
-- long it is, and where it goes on, cannot tell of anything else.  In order of
-- place, newest first, a cursor is the place of the last request looked at: it
-- names none, and whatever is filed, ends or goes meanwhile, nothing else is
-- skipped or comes twice.

-- Without an issuer a person is whoever has the name.
local function is_asked_for(person, asked)
    return not asked
           or (asked.sub == person.sub
               and (not asked.iss or asked.iss == person.iss))
end


-- Where what somebody sees by a role is, if it can be in the list.
local SCOPES = {
    engineer = function(args)
        return is_asked_for(args.actor, args.engineer)
               and { index = engineer_index(args.actor) }
    end,

    manager = function(args)
        local person = args.view == 'mine' and args.actor or args.engineer

        if person and person.iss then
            return { index = engineer_index(person) }
        end

        return args.tenant and { index = tenant_index(args.tenant),
                                 tenant = args.tenant }
               or { index = REQUESTS }
    end,

    customer = function(args)
        local tenant = args.actor.tenant

        return tenant and (not args.tenant or args.tenant == tenant)
               and { index = tenant_index(tenant), tenant = tenant }
    end
}

SCOPES.auditor = function(args)
    return SCOPES[args.actor.tenant and 'customer' or 'manager'](args)
end


-- Is it a step for which the request waits?
local function is_awaited(step)
    return step.judges or step.name == 'answer'
end


local function always()
    return true
end


local function never()
    return false
end


-- What a view shows: of which states that can still change, to somebody in a
-- role ("of"), whether of the others, too ("ended"), and what of all these
-- ("shows", which may want to see the decisions: "whole").
local VIEWS = {
    awaiting = {
        whole = true,

        of = function(state, role)
            for _, step in ipairs(TRANSITIONS) do
                if is_awaited(step) and has_one({ [role] = true },
                                                step.from[state])
                then
                    return true
                end
            end
        end,

        shows = function(fields, actor)
            for _, step in ipairs(TRANSITIONS) do
                if is_awaited(step) and not refusal(step, fields, actor) then
                    return true
                end
            end
        end
    },

    mine = { ended = true, of = always, shows = is_engineer_of },

    live = {
        of = function(state)
            return state == 'approved'
        end,

        shows = function(fields)
            return fields.state == 'approved'
        end
    },

    history = {
        ended = true,
        of = never,

        shows = function(fields)
            return not STATES[fields.state]
        end
    }
}

local EVERYTHING = { ended = true, of = always, shows = always }


-- The names of the indexes of a scope that the list is in.
local function names_of(index, role, view, states)
    local names = {}

    for state in pairs(states or view.ended and { ended = true } or STATES) do
        if not STATES[state] and view.ended then
            return { index }
        end

        if STATES[state] and view.of(state, role) then
            names[#names + 1] = state_index(index, state)
        end
    end

    return names
end


local function is_listed(fields, view, args)
    return (not args.tenant or args.tenant == fields.tenant)
           and (not args.states or args.states[fields.state])
           and (not args.engineer
                or is_asked_for({ iss = fields.engineer_iss,
                                  sub = fields.engineer_sub }, args.engineer))
           and visible(fields, args.actor)
           and view.shows(fields, args.actor)
end


-- From where to where, nil if the cursor is none.
local function bounds_of(args)
    local top = args.before and args.before * 1000
    local cursor = args.cursor

    if cursor then
        if not string.match(cursor, '^%d+$') or #cursor > 16 then
            return nil
        end

        top = math.min(top or math.huge, tonumber(cursor))
    end

    return { top = top and '(' .. digits(top) or '+inf',
             bottom = args.since and digits(args.since * 1000) or '-inf' }
end


-- Goes to the next entry of an index, "head", nil at the end.
local function advance(source)
    local entries = source.entries

    if source.at > #entries and not source.last then
        entries = redis.call('ZRANGE', source.index, source.top, source.bottom,
                             'BYSCORE', 'REV', 'LIMIT', 0, READ_AT_ONCE,
                             'WITHSCORES')
        source.entries, source.at = entries, 1
        source.last = #entries < READ_AT_ONCE * 2
        source.top = '(' .. (entries[#entries] or '0')
    end

    local member, place = entries[source.at], entries[source.at + 1]

    source.at = source.at + 2
    source.head = member and { index = source.index, member = member,
                               place = place, tenant = source.tenant }
end


-- By name of the index, so that none is read twice.
local function sources_of(view, bounds, args)
    local sources = {}

    for role, scope_of in pairs(SCOPES) do
        local scope = args.actor.roles[role] and scope_of(args)

        for _, name in ipairs(scope and names_of(scope.index, role, view,
                                                 args.states) or {})
        do
            sources[name] = { index = name, tenant = scope.tenant,
                              top = bounds.top, bottom = bounds.bottom,
                              entries = {}, at = 1 }
        end
    end

    for _, source in pairs(sources) do
        advance(source)
    end

    return sources
end


-- The newest entry of all sources; those that are beside it in others are the
-- same request.
local function next_entry(sources)
    local newest

    for _, source in pairs(sources) do
        local head = source.head

        if head and (not newest
                     or tonumber(head.place) > tonumber(newest.place))
        then
            newest = head
        end
    end

    for _, source in pairs(newest and sources or {}) do
        if source.head and source.head.place == newest.place then
            advance(source)
        end
    end

    return newest
end


local function list(args)
    local view = VIEWS[args.view] or EVERYTHING
    local look = view.whole and find or glance
    local bounds = bounds_of(args)
    local page = {}

    if not bounds then
        return { 'invalid_cursor', '', page }
    end

    local sources = sources_of(view, bounds, args)
    local entry = next_entry(sources)
    local examined, last = 0

    while entry and examined < EXAMINED do
        local tenant, id = split(entry.member, entry.tenant)
        local fields = look(tenant, id)

        if not fields then
            write('ZREM', entry.index, entry.member)
        end

        if fields and is_listed(fields, view, args) then
            if #page == args.limit then
                break
            end

            fields = view.whole and fields or find(tenant, id)

            local actions = actions_of(fields, args.actor)

            page[#page + 1] = { flatten(shorten(fields)), actions }
        end

        examined, last = examined + 1, entry.place
        entry = next_entry(sources)
    end

    commit()

    return { 'ok', entry and last or '', page }
end


-- Audit records, newest first.  A place in a stream is an entry's own id, and
-- how many of its records, the newest ones, are behind it already; in another
-- stream it means nothing but a time.

local function audit_key(tenant)
    return 'lockbox:{' .. tenant .. '}:audit'
end


-- The newest entry that may be shown, for XREVRANGE, and how many of its
-- records were shown; nil for a bad cursor.
local function audit_begin(args)
    local newest = args['until'] and digits(math.max(args['until'] - 1, 0))

    if not args.cursor then
        return newest or '+', 0
    end

    local time, place, shown =
        string.match(args.cursor, '^(%d+)%-(%d+)%-(%d+)$')

    if not time or #time > 15 or #place > 15 or #shown > 15
       or tonumber(time) == 0
    then
        return nil
    end

    if newest and tonumber(time) > tonumber(newest) then
        return newest, 0
    end

    return time .. '-' .. place, tonumber(shown)
end


-- The oldest one first, as they were written.
local function records_in(entry)
    local records = {}

    for i = 1, #entry[2], 2 do
        if entry[2][i] == 'records' then
            for record in string.gmatch(entry[2][i + 1] .. '\n',
                                        '([^\n]*)\n')
            do
                records[#records + 1] = record
            end
        end
    end

    return records
end


-- No text of a record has a quotation mark that is not escaped.
local function is_about(record, id)
    return not id or string.find(record, '"lockbox.request_id":"' .. id .. '"',
                                 1, true)
end


-- What the workers have said of themselves: up to when all has been written
-- by those that are heard of, and the others.
local function workers_by_silence()
    local workers = redis.call('HGETALL', 'lockbox:workers')
    local complete, silent = nil, {}

    for i = 1, #workers, 2 do
        local last = tonumber(string.match(workers[i + 1], '^%d+ (%d+)$'))

        if last and now - last < LONGEST_SILENCE then
            complete = math.min(complete or last, last)
        elseif last and #silent < 2 * LONGEST_PAGE then
            silent[#silent + 1] = workers[i]
            silent[#silent + 1] = digits(last)
        end
    end

    return complete and digits(complete) or '', silent
end


-- A page is short when the records that are asked for are few among many, or
-- long ones.
local function audit(args)
    local key = audit_key(args.tenant)
    local oldest = digits(math.max(args.since or 0, now - args.retention))
    local begin, shown = audit_begin(args)
    local complete, silent = workers_by_silence()
    local page, size, examined = {}, 0, 0
    local newest = begin

    local function is_full()
        return #page == args.limit or size >= LARGEST_PAGE
               or examined >= EXAMINED
    end

    local function answer(entry, behind)
        return { 'ok', entry and entry[1] .. '-' .. behind or '', page,
                 complete, silent }
    end

    if not begin then
        return { 'invalid_cursor', '', page, complete, silent }
    end

    while true do
        local entries = redis.call('XREVRANGE', key, newest, oldest, 'COUNT',
                                   ENTRIES_AT_ONCE)

        for _, entry in ipairs(entries) do
            local records = records_in(entry)
            local behind = entry[1] == begin and shown or 0

            if is_full() then
                return answer(entry, behind)
            end

            for i = #records - behind, 1, -1 do
                if is_full() then
                    return answer(entry, #records - i)
                end

                if is_about(records[i], args.request) then
                    page[#page + 1] = records[i]
                    size = size + #records[i]
                end

                examined = examined + 1
            end

            examined = examined + (#records == 0 and 1 or 0)
            newest = '(' .. entry[1]
        end

        if #entries < ENTRIES_AT_ONCE then
            return answer(nil)
        end
    end
end


-- Reading events

-- The streams with what the actor may see, and nothing else: neither pages nor
-- cursors can tell of other events.  That somebody may see an event does not
-- hang on the request, which may be gone by now.
local function streams_for(actor)
    local roles = actor.roles
    local streams = {}

    if roles.manager or (roles.auditor and not actor.tenant) then
        return { EVENTS }
    end

    if (roles.customer or roles.auditor) and actor.tenant then
        streams[1] = events_key(actor.tenant)
    end

    if roles.engineer then
        streams[#streams + 1] = engineer_events(actor)
    end

    return streams
end


local function id_before(id)
    if id.place > 0 then
        return { time = id.time, place = id.place - 1 }
    end

    return { time = id.time - 1, place = 999999999999999 }
end


-- The last id that is gone from a stream.  Where somebody else has dropped
-- entries it may be any that is before the first one.
local function begin_of(stream)
    local info = look_at(stream)
    local first = info['first-entry']

    if info.gone == 0 then
        return { time = 0, place = 0 }
    end

    local noted = redis.call('HMGET', FORGOTTEN, stream)[1] or ''
    local count, last = string.match(noted, '^(%d+) (%S+)$')

    if tonumber(count) == info.gone then
        return parts_of(last)
    end

    return first and id_before(parts_of(first[1])) or info.last
end


-- Behind that nothing is missing in any of these streams.
local function horizon_of(streams)
    local horizon = { time = 0, place = 0 }

    for _, stream in ipairs(streams) do
        local begin = begin_of(stream)

        horizon = is_later(begin, horizon) and begin or horizon
    end

    return horizon
end


-- The next entries of these streams, oldest first, each once.
local function entries_behind(streams, id, limit)
    local entries, known = {}, {}

    for _, stream in ipairs(streams) do
        for _, entry in ipairs(redis.call('XRANGE', stream, '(' .. id_of(id),
                                          '+', 'COUNT', limit))
        do
            if not known[entry[1]] then
                known[entry[1]] = true
                entry.parts = parts_of(entry[1])
                              or fail('an event with too large an id')
                entries[#entries + 1] = entry
            end
        end
    end

    table.sort(entries, function(a, b)
        return is_later(b.parts, a.parts)
    end)

    return entries
end


-- Without a cursor it begins with the oldest event from which on all of them
-- are there, or with "latest" behind the last one.  A cursor that is ahead of
-- all events is none of ours: whoever had it would hear nothing for as long.
local function events(args)
    local streams = streams_for(args.actor)
    local last, horizon = last_of(streams), horizon_of(streams)
    local from = args.latest and last or horizon
    local page = {}

    if args.cursor then
        from = parts_of(args.cursor)

        if not from or (from.time > now and is_later(from, last)) then
            return { 'invalid_cursor', '', page, '' }
        end
    end

    local gap = is_later(horizon, from) and 'gap' or ''
    local entries = entries_behind(streams, from, args.limit)

    for i = 1, math.min(#entries, args.limit) do
        local entry = entries[i]

        from = entry.parts

        if visible(as_fields(entry[2]), args.actor) then
            page[#page + 1] = { entry[1], entry[2] }
        end
    end

    -- it is told of once, also where nothing else is left to tell
    if #entries < args.limit and is_later(horizon, from) then
        from = horizon
    end

    return { 'ok', id_of(from), page, gap }
end


-- Arguments: a shape is a table of members and their shapes, or the name of a
-- kind; those with a question mark may be missing.

local function is_text(value)
    return type(value) == 'string'
end


local function is_count(value)
    return type(value) == 'number' and value >= 0 and value <= LARGEST
           and value % 1 == 0
end


local KINDS = {
    text = is_text,
    count = is_count,

    flag = function(value)
        return type(value) == 'boolean'
    end,

    name = function(value)
        return is_text(value) and value ~= ''
    end,

    whole = function(value)
        return is_count(value) and value > 0
    end,

    -- a set of names
    states = function(value)
        for name, given in pairs(type(value) == 'table' and value or { 0 }) do
            if not is_text(name) or given ~= true then
                return false
            end
        end

        return true
    end,

    view = function(value)
        return VIEWS[value] ~= nil
    end,

    person = function(value)
        return type(value) == 'table' and is_text(value.sub)
               and (value.iss == nil or is_text(value.iss))
    end,

    limit = function(value)
        return is_count(value) and value > 0 and value <= LONGEST_PAGE
    end,

    kept = function(value)
        return is_count(value) and value > 0 and value <= POLICIES_KEPT
    end,

    -- up to the year 9999
    time = function(value)
        return type(value) == 'number' and value >= 0 and value < 2.6e14
               and value % 1 == 0
    end,

    tenant = function(value)
        return is_text(value) and string.match(value, TENANT) ~= nil
    end,

    id = function(value)
        return is_text(value) and string.match(value, ID) ~= nil
    end
}


local function check(value, shape, name)
    if type(shape) == 'string' then
        local kind, optional = string.match(shape, '^(%a+)(%??)$')
        local missing = optional == '?' and value == nil

        return missing or KINDS[kind](value)
               or fail('bad argument "' .. name .. '"')
    end

    if type(value) ~= 'table' then
        fail('bad argument "' .. name .. '"')
    end

    for member, inner in pairs(shape) do
        if value[member] == cjson.null then
            value[member] = nil
        end

        check(value[member], inner, member)
    end
end


local ACTOR = {
    iss = 'name', sub = 'name', tenant = 'tenant?',
    roles = { engineer = 'flag?', manager = 'flag?', customer = 'flag?',
              auditor = 'flag?' }
}

local DECISION = {
    stage = 'name', decision = 'name', by = { iss = 'name', sub = 'name' }
}


local PREAPPROVAL = {
    stage = 'name', decision = 'name', by = { iss = 'name', sub = 'name' },
    preapproval = 'name'
}


-- A decision must be the actor's own: who decided twice is told from it.
local function check_decision(args)
    local decision = cjson.decode(args.decision)

    check(decision, DECISION, 'decision')

    if not same_person(decision.by, args.actor) then
        fail('the decision is not the actor\'s')
    end
end


local END = {
    actor = ACTOR, tenant = 'tenant', id = 'id', version = 'whole?',
    decision = 'text?', decided_at = 'whole?', retention = 'whole'
}

local ACTIONS = {
    file = { run = file, args = {
        actor = ACTOR, decision = 'text', decided_at = 'whole',
        policy = 'count?',
        answer_within = 'whole', lapses_within = 'whole',
        max_open = 'whole', retention = 'whole',
        request = { id = 'id', tenant = 'tenant', justification = 'text',
                    reason = 'text', ticket = 'text?', duration = 'whole',
                    access = 'text', extends = 'id?' }
    } },

    show = { run = show, args = {
        actor = ACTOR, tenant = 'tenant', id = 'id', managers = 'whole?'
    } },

    -- access and duration as they stand after the decision; begins (s) as long
    -- as what it extends is good; answer_within is for the stage that it may
    -- open, and preapproval the decision of the customer's that stands there
    -- already
    approve = { run = takes('approve', approve), args = {
        actor = ACTOR, tenant = 'tenant', id = 'id', version = 'whole',
        decision = 'text', decided_at = 'whole', access = 'text',
        policy = 'count?', preapproval = 'text?',
        duration = 'whole', begins = 'whole?', answer_within = 'whole',
        retention = 'whole',
        required = { manager = 'whole', customer = 'count' }
    } },

    deny = { run = takes('deny', ends_as('denied')), args = {
        actor = ACTOR, tenant = 'tenant', id = 'id', version = 'whole',
        decision = 'text', decided_at = 'whole', retention = 'whole'
    } },

    ask = { run = takes('ask', ask), args = {
        actor = ACTOR, tenant = 'tenant', id = 'id', version = 'whole',
        decision = 'text', decided_at = 'whole', retention = 'whole'
    } },

    answer = { run = takes('answer', inform), args = {
        actor = ACTOR, tenant = 'tenant', id = 'id', version = 'whole?',
        decision = 'text', decided_at = 'whole', retention = 'whole'
    } },

    cancel = { run = takes('cancel', ends_as('cancelled')), args = END },

    complete = { run = takes('complete', ends_as('completed')), args = END },

    revoke = { run = takes('revoke', ends_as('revoked')), args = END },

    grant = { run = takes('grant', collect), args = {
        actor = ACTOR, tenant = 'tenant', id = 'id', version = 'whole?'
    } },

    -- created_at from "since" on, and before "before"
    list = { run = list, args = {
        actor = ACTOR, view = 'view?', states = 'states?', tenant = 'tenant?',
        engineer = 'person?', since = 'time?', before = 'time?',
        limit = 'limit', cursor = 'text?', managers = 'whole?'
    } },

    policy = { run = policy, args = {
        actor = ACTOR, tenant = 'tenant', count = 'kept'
    } },

    -- the version that it replaces, 0 for none
    set_policy = { run = set_policy, args = {
        actor = ACTOR, tenant = 'tenant', version = 'count',
        decision = 'text', decided_at = 'whole'
    } },

    -- who may read it the caller has seen to
    audit = { run = audit, args = {
        tenant = 'tenant', limit = 'limit', cursor = 'text?', since = 'count?',
        ['until'] = 'count?', request = 'id?', retention = 'whole'
    } },

    events = { run = events, args = {
        actor = ACTOR, limit = 'limit', cursor = 'text?', latest = 'flag?'
    } },

    due = { run = due, args = { limit = 'whole' } },

    sweep = { run = sweep, args = {
        tenant = 'tenant', id = 'id', retention = 'whole'
    } }
}

local action = ACTIONS[ARGV[1]]

if not action then
    fail('no such action')
end

local args = cjson.decode(ARGV[2])

check(args, action.args, 'arguments')

if args.decision then
    check_decision(args)
end

if args.preapproval then
    check(cjson.decode(args.preapproval), PREAPPROVAL, 'preapproval')
end

managers_needed = args.managers
                  or args.required and args.required.manager or 0

return action.run(args)
