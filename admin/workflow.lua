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
--   lockbox:{T}:requests          zset of id by created_at
--   lockbox:requests              zset of T:id by created_at, all tenants
--   lockbox:engineer:<sha1 hex of iss, newline, sub>
--                                 zset of T:id by created_at, one engineer's
--   lockbox:queue                 zset of T:id by created_at, awaiting_*
--   lockbox:deadlines             zset of T:id by the time that ends the state
--   lockbox:grant:{T}:<id>        the live key: there while the grant is good
--   lockbox:events                stream, an entry for each step
--   lockbox:{T}:events            the same entries, of one tenant
--   lockbox:engineer:<sha1>:events
--                                 the same entries, of one engineer's requests
-- and the channel lockbox:wake, where an empty message says that there is
-- another entry.
--
-- Events: filed approved denied cancelled completed revoked collected, and
-- lapsed expired, which are nobody's (empty iss and sub).
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
--   the stage that is or was last open) approved_at expires_at ended_at (ms)
--   decisions (how many) decision:0 .. decision:n-1 (JSON; of interest here
--   are "stage", "decision" and "by", {"iss", "sub"}; the first is the filing)
-- "version" counts the steps that changed something.
--
-- Actions and the shapes of their arguments are the table at the end.
-- Arguments of another shape are an error.
--
-- Answers:
--   one request  { result, { field, value, ... }, { action, ... } }: fields
--                and the actions the actor may take now, both empty for
--                whoever may not see the request
--   list         { result, cursor of the next page or "", { { fields,
--                actions }, ... } }
--   due          { "ok", { { tenant, id }, ... } }
--   events       { result, cursor, { { id, { field, value, ... } }, ... } }
--
-- One request has a fourth member where something happened: the events that
-- were announced, in the form of "events".
--
-- Results, in the order in which they are found: not_found (also when not
-- visible), forbidden_role, own_request, conflict (state), same_person,
-- conflict (version), clock (decided_at is not Redis's time), ok; for lists
-- and events invalid_cursor, ok.

local LARGEST_SKEW = 5000
local EVENTS_KEPT = 100000
local EVENTS_KEPT_OF_ONE = 10000
local EXAMINED = 500
local LONGEST_PAGE = 100

-- Sums and products of such numbers are still times that Redis takes.
local LARGEST = 1e14

local TENANT = '^[%w._-]+$'
local ID = '^[%x-]+$'

local QUEUE = 'lockbox:queue'
local DEADLINES = 'lockbox:deadlines'
local REQUESTS = 'lockbox:requests'
local EVENTS = 'lockbox:events'
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
    approved = {
        due = 'expires_at', overdue = 'expired'
    }
}

-- Who may take which step, by state.  A step that judges is a decision on the
-- request: not for its engineer, and for nobody twice.  To revoke is none,
-- because whoever may end access may always end it.
local TRANSITIONS = {
    { name = 'approve', judges = true, from = {
        awaiting_manager = { 'manager' },
        awaiting_customer = { 'customer' }
    } },
    { name = 'deny', judges = true, from = {
        awaiting_manager = { 'manager' },
        awaiting_customer = { 'customer' }
    } },
    { name = 'cancel', from = {
        awaiting_manager = { 'engineer' },
        awaiting_customer = { 'engineer' }
    } },
    { name = 'complete', from = { approved = { 'engineer' } } },
    { name = 'revoke', from = { approved = { 'manager', 'customer' } } },
    { name = 'grant', from = { approved = { 'engineer' } } }
}

-- Who sweeps: sees everything, may do nothing.
local NOBODY = { iss = '', sub = '', roles = { auditor = true } }

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)


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


local function events_key(tenant)
    return 'lockbox:{' .. tenant .. '}:events'
end


local function tenant_index(tenant)
    return 'lockbox:{' .. tenant .. '}:requests'
end


local function engineer_index(person)
    return 'lockbox:engineer:'
           .. redis.sha1hex(person.iss .. '\n' .. person.sub)
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


-- Plans the hash and what follows from its state.  What frees memory comes
-- first: a full Redis allows it, and then also what comes behind it, so that
-- access can be ended there.
local function save(fields, args)
    local key = request_key(fields.tenant, fields.id)
    local member = member_of(fields)
    local state = STATES[fields.state]
    local ends_at = state and fields[state.due] or fields.ended_at
    local command = { 'HSET', key }

    if not state then
        write('DEL', live_key(fields.tenant, fields.id))
    end

    if state and state.stage then
        write('ZADD', QUEUE, fields.created_at, member)
    else
        write('ZREM', QUEUE, member)
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


-- The last id that any of these streams has given.
local function last_of(streams)
    local last = { time = 0, place = 0 }

    for _, stream in ipairs(streams) do
        local info = {}

        if redis.call('TYPE', stream).ok == 'stream' then
            info = redis.call('XINFO', 'STREAM', stream)
        end

        for i = 1, #info, 2 do
            if info[i] == 'last-generated-id' then
                local id = parts_of(info[i + 1])
                           or fail('no more ids in ' .. stream)

                last = is_later(id, last) and id or last
            end
        end
    end

    return last
end


-- The stage of which a request as it was read needs an answer.
local asked = {}
local announced = {}
local last_announced = { time = 0, place = 0 }


-- A question does not settle the stage that asks it.
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
        write('XADD', stream, 'MAXLEN', '~', kept, id_of(id), unpack(entry))
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
        fields.state = state.overdue
    end

    return fields
end


local function is(fields, tenant, id)
    return fields.state and fields.tenant == tenant and fields.id == id
end


-- The request as it is written; nil when it is not there.
local function read(tenant, id)
    local flat = redis.call('HGETALL', request_key(tenant, id))
    local fields = {}

    for i = 1, #flat, 2 do
        fields[flat[i]] = flat[i + 1]
    end

    asked[fields] = stage_of(fields)

    return is(fields, tenant, id) and fields or nil
end


-- The request as it stands.
local function find(tenant, id)
    local fields = read(tenant, id)

    return fields and effective(fields)
end


-- As much of it as tells whether a list shows it.
local function glance(tenant, id)
    local names = { 'id', 'tenant', 'state', 'engineer_iss', 'engineer_sub',
                    'answer_by', 'expires_at' }
    local values = redis.call('HMGET', request_key(tenant, id), unpack(names))
    local fields = {}

    for i, name in ipairs(names) do
        fields[name] = values[i]
    end

    return is(fields, tenant, id) and effective(fields)
end


-- What people decided, without the filing.
local function decisions_of(fields)
    local list = {}

    for i = 1, tonumber(fields.decisions) - 1 do
        list[i] = cjson.decode(fields['decision:' .. i])
    end

    return list
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

    return {
        engineer = roles.engineer and is_engineer_of(fields, actor),
        manager = roles.manager,
        customer = roles.customer and actor.tenant == fields.tenant,
        auditor = roles.auditor and (not actor.tenant
                                     or actor.tenant == fields.tenant)
    }
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
end


-- Was it decided on something else than what stands?
local function is_stale(step, fields, args)
    if args.version and digits(args.version) ~= fields.version then
        return true
    end

    return step.judges and cjson.decode(args.decision).stage
                           ~= STATES[fields.state].stage
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


local function actions_of(fields, actor)
    local names = {}

    for _, step in ipairs(TRANSITIONS) do
        if not refusal(step, fields, actor) then
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


-- Steps: each changes the fields and returns the event that it is.

local function record(fields, decision)
    local count = tonumber(fields.decisions)

    set(fields, { ['decision:' .. count] = decision,
                  decisions = digits(count + 1) })
end


local function open_stage(fields, state, args)
    set(fields, { state = state, answer_by = digits(now + args.answer_within) })
end


-- With a short window and a slow worker it may be over already: then the live
-- key is, too, and the deadline is due like any other.
local function open_window(fields, args)
    local begins = math.floor(args.decided_at / 1000)
    local expires_at = (begins + args.duration) * 1000

    set(fields, { state = 'approved', approved_at = digits(args.decided_at),
                  expires_at = digits(expires_at) })
    write('SET', live_key(fields.tenant, fields.id), 'live',
          'PXAT', digits(expires_at))
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


local function approve(fields, args)
    local stage = STATES[fields.state].stage

    set(fields, { access = args.access, duration = digits(args.duration) })

    if approvals(fields, stage) < args.required[stage] then
        return 'approved'
    end

    if stage == 'manager' and args.required.customer > 0 then
        open_stage(fields, 'awaiting_customer', args)
    else
        open_window(fields, args)
    end

    return 'approved'
end


local function ends_as(state)
    return function(fields)
        set(fields, { state = state, ended_at = digits(now) })

        return state
    end
end


local function collect()
    return 'collected'
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
        set(fields, { version = digits(tonumber(fields.version) + 1) })
        save(fields, args)
    end

    return event
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
                        or is_skewed(args) and 'clock'

        if refused then
            return answer(refused, fields, actor)
        end

        announce(changes_to(fields, args, run), fields, actor)
        commit()

        return answer('ok', fields, actor)
    end
end


-- Entries outlive their requests.  Each filing takes up to two such entries
-- from the old end for the one that it adds, so that no index grows for ever.
local function add_to_index(index, member, fields, tenant)
    write('ZADD', index, fields.created_at, member)

    for _, oldest in ipairs(redis.call('ZRANGE', index, 0, 1)) do
        if redis.call('EXISTS', request_key(split(oldest, tenant))) == 0 then
            write('ZREM', index, oldest)
        end
    end
end


local function file(args)
    local request, actor = args.request, args.actor

    if not actor.roles.engineer then
        return answer('forbidden_role')
    end

    if redis.call('EXISTS', request_key(request.tenant, request.id)) == 1 then
        return answer('conflict', find(request.tenant, request.id), actor)
    end

    if is_skewed(args) then
        return answer('clock')
    end

    local fields = {}

    set(fields, {
        id = request.id,
        tenant = request.tenant,
        justification = request.justification,
        reason = request.reason,
        ticket = request.ticket,
        duration = digits(request.duration),
        access = request.access,
        engineer_iss = actor.iss,
        engineer_sub = actor.sub,
        created_at = digits(now),
        version = '1',
        decisions = '1',
        ['decision:0'] = args.decision
    })
    open_stage(fields, 'awaiting_manager', args)

    save(fields, args)
    add_to_index(REQUESTS, member_of(fields), fields)
    add_to_index(engineer_index(actor), member_of(fields), fields)
    add_to_index(tenant_index(fields.tenant), fields.id, fields, fields.tenant)
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
        write('ZREM', QUEUE, member_of(args))
        write('ZREM', DEADLINES, member_of(args))
        commit()

        return answer('not_found')
    end

    local written = fields.state

    if effective(fields).state == written then
        return answer('conflict', fields, NOBODY)
    end

    set(fields, { state = fields.state, ended_at = fields.ended_at,
                  version = digits((tonumber(fields.version) or 0) + 1) })
    save(fields, args)
    announce(fields.state, fields, NOBODY)
    commit()

    return answer('ok', fields, NOBODY)
end


-- Lists

-- The narrowest index with everything that the actor may see, and whether it
-- is that of a tenant.  Wherever one has nothing else it is taken: how long a
-- list is and where it goes on must not tell of requests that are not there
-- for the actor.
local function index_for(actor, tenant, state)
    local roles = actor.roles
    local sees_all = roles.manager or (roles.auditor and not actor.tenant)
    local sees = (roles.customer or roles.auditor) and actor.tenant

    if tenant and (sees_all or sees == tenant) then
        return tenant_index(tenant), tenant
    end

    if sees_all then
        return STATES[state] and STATES[state].stage and QUEUE or REQUESTS
    end

    if sees and not tenant then
        if roles.engineer then
            return REQUESTS
        end

        return tenant_index(sees), sees
    end

    return engineer_index(actor)
end


-- A cursor is a time and how many entries of that very millisecond have been
-- passed: it names no request, and whatever is added later comes before it.
local function rank_of(index, cursor)
    if not cursor then
        return 0
    end

    local time, passed = string.match(cursor, '^(%d+)%.(%d+)$')

    if not time or #time > 15 or #passed > 9 then
        return nil
    end

    return redis.call('ZCOUNT', index, '(' .. time, '+inf') + tonumber(passed)
end


local function cursor_at(index, rank, score)
    if rank >= redis.call('ZCARD', index) then
        return ''
    end

    local time = digits(tonumber(score))
    local above = redis.call('ZCOUNT', index, '(' .. time, '+inf')

    return time .. '.' .. digits(rank - above)
end


local function is_listed(fields, args)
    return visible(fields, args.actor)
           and (not args.tenant or args.tenant == fields.tenant)
           and (not args.state or args.state == fields.state)
end


local function list(args)
    local index, tenant = index_for(args.actor, args.tenant, args.state)
    local rank = rank_of(index, args.cursor)
    local page = {}

    if not rank then
        return { 'invalid_cursor', '', page }
    end

    local entries = redis.call('ZREVRANGE', index, rank, rank + EXAMINED - 1,
                               'WITHSCORES')
    local score

    for i = 1, #entries, 2 do
        if #page == args.limit then
            break
        end

        local owner, id = split(entries[i], tenant)
        local fields = glance(owner, id)

        if not fields then
            write('ZREM', index, entries[i])
        else
            rank = rank + 1
        end

        if fields and is_listed(fields, args) then
            fields = find(owner, id)
            page[#page + 1] = { flatten(fields),
                                actions_of(fields, args.actor) }
        end

        score = entries[i + 1]
    end

    commit()

    return { 'ok', score and cursor_at(index, rank, score) or '', page }
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


local function as_fields(flat)
    local fields = {}

    for i = 1, #flat, 2 do
        fields[flat[i]] = flat[i + 1]
    end

    return fields
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


-- Without a cursor it begins with the oldest event, or with "latest" behind
-- the last one.  A cursor that is ahead of all events is none of ours: whoever
-- had it would hear nothing for as long.
local function events(args)
    local streams = streams_for(args.actor)
    local last = last_of(streams)
    local from = args.latest and last or { time = 0, place = 0 }
    local page = {}

    if args.cursor then
        from = parts_of(args.cursor)

        if not from or (from.time > now and is_later(from, last)) then
            return { 'invalid_cursor', '', page }
        end
    end

    for i, entry in ipairs(entries_behind(streams, from, args.limit)) do
        if i > args.limit then
            break
        end

        from = entry.parts

        if visible(as_fields(entry[2]), args.actor) then
            page[#page + 1] = { entry[1], entry[2] }
        end
    end

    return { 'ok', id_of(from), page }
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

    limit = function(value)
        return is_count(value) and value > 0 and value <= LONGEST_PAGE
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
        answer_within = 'whole', retention = 'whole',
        request = { id = 'id', tenant = 'tenant', justification = 'text',
                    reason = 'text', ticket = 'text?', duration = 'whole',
                    access = 'text' }
    } },

    show = { run = show, args = {
        actor = ACTOR, tenant = 'tenant', id = 'id'
    } },

    -- access and duration as they stand after the decision; answer_within is
    -- for the stage that it may open
    approve = { run = takes('approve', approve), args = {
        actor = ACTOR, tenant = 'tenant', id = 'id', version = 'whole',
        decision = 'text', decided_at = 'whole', access = 'text',
        duration = 'whole', answer_within = 'whole', retention = 'whole',
        required = { manager = 'whole', customer = 'count' }
    } },

    deny = { run = takes('deny', ends_as('denied')), args = {
        actor = ACTOR, tenant = 'tenant', id = 'id', version = 'whole',
        decision = 'text', decided_at = 'whole', retention = 'whole'
    } },

    cancel = { run = takes('cancel', ends_as('cancelled')), args = END },

    complete = { run = takes('complete', ends_as('completed')), args = END },

    revoke = { run = takes('revoke', ends_as('revoked')), args = END },

    grant = { run = takes('grant', collect), args = {
        actor = ACTOR, tenant = 'tenant', id = 'id', version = 'whole?'
    } },

    list = { run = list, args = {
        actor = ACTOR, tenant = 'tenant?', state = 'text?', limit = 'limit',
        cursor = 'text?'
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

return action.run(args)
