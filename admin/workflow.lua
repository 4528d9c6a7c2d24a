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
--   lockbox:{T}:open:<the same>   zset of id by answer_by, one engineer's that
--                                 are not approved yet
--   lockbox:queue                 zset of T:id by created_at, awaiting_*
--   lockbox:deadlines             zset of T:id by the time that ends the state
--   lockbox:grant:{T}:<id>        the live key: there while the grant is good
--   lockbox:{T}:policy            hash, the tenant's policy
--   lockbox:{T}:events            stream, an entry for each step: event id
--                                 state version at iss sub
--
-- Events: filed approved denied asked answered cancelled completed revoked
-- collected, and lapsed expired, which are nobody's (empty iss and sub);
-- policy_changed has no id and no state.  With "preapproval", its name, an
-- approval is that of whoever gave it beforehand.
--
-- Fields of a request, all text, absent until they mean something:
--   id tenant state version engineer_iss engineer_sub justification reason
--   ticket duration (s) access (JSON, opaque here) created_at answer_by (of
--   whoever is or was last waited for) lapses_at (whatever happens before the
--   approval) approved_at starts_at expires_at ended_at (ms)
--   extends (id of the request of the same engineer and tenant that it goes on
--   from)
--   asked_by_stage (whose question is not answered; empty: none) remaining (ms
--   that stage has left when it is)
--   decisions (how many) decision:0 .. decision:n-1 (JSON; of interest here
--   are "stage", "decision" and "by", {"iss", "sub"}; the first is the filing)
-- "version" counts the steps that changed something.
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
--                actions }, ... } }
--   due          { "ok", { { tenant, id }, ... } }
--   policy       { result, { field, value, ... }, {} }: the version, and those
--                that are there as policy:<version>
--
-- Results, in the order in which they are found: not_found (also when not
-- visible), forbidden_role, own_request, conflict (state), same_person,
-- conflict (version), stale_policy (decided by another version of it), clock
-- (decided_at is not Redis's time), invalid_extends (nothing that this request
-- could extend), too_many_requests (of one engineer and tenant, not approved
-- yet), ok; for lists invalid_cursor, ok.

local LARGEST_SKEW = 5000
local EVENTS_KEPT = 100000
local EXAMINED = 500
local LONGEST_PAGE = 100
local POLICIES_KEPT = 16

-- Sums and products of such numbers are still times that Redis takes.
local LARGEST = 1e14

local TENANT = '^[%w._-]+$'
local ID = '^[%x-]+$'

local QUEUE = 'lockbox:queue'
local DEADLINES = 'lockbox:deadlines'
local REQUESTS = 'lockbox:requests'

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


local function announce(event, fields, actor)
    local given = actor.preapproval and { 'preapproval', actor.preapproval }

    write('XADD', events_key(fields.tenant), 'MAXLEN', '~', EVENTS_KEPT, '*',
          'event', event, 'id', fields.id, 'state', fields.state,
          'version', fields.version, 'at', digits(now),
          'iss', actor.iss, 'sub', actor.sub, unpack(given or {}))
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

    if step.most and times_taken(fields, step.name) >= step.most then
        return 'conflict'
    end
end


-- Whose decision the request waits for, or would if its question were
-- answered.
local function stage_of(fields)
    return STATES[fields.state].stage or fields.asked_by_stage
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

    return { result, flatten(fields), actions_of(fields, actor) }
end


-- Steps: each changes the fields and returns the event that it is.

local function record(fields, decision)
    local count = tonumber(fields.decisions)

    set(fields, { ['decision:' .. count] = decision,
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

        announce(changes_to(fields, args, run), fields, actor)

        if args.preapproval and state == 'awaiting_manager' then
            stand_in(step, fields, args, run)
        end

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
        created_at = digits(now),
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

    return { result, flat, {} }
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

    kept = function(value)
        return is_count(value) and value > 0 and value <= POLICIES_KEPT
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
        actor = ACTOR, tenant = 'tenant', id = 'id'
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

    list = { run = list, args = {
        actor = ACTOR, tenant = 'tenant?', state = 'text?', limit = 'limit',
        cursor = 'text?'
    } },

    policy = { run = policy, args = {
        actor = ACTOR, tenant = 'tenant', count = 'kept'
    } },

    -- the version that it replaces, 0 for none
    set_policy = { run = set_policy, args = {
        actor = ACTOR, tenant = 'tenant', version = 'count',
        decision = 'text', decided_at = 'whole'
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

return action.run(args)
