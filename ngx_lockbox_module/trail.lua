-- Appends a worker's audit records to the streams of their tenants: all of
-- them, and each once, however often they are sent.
--
--     EVAL <this> 0 <worker> <number> <until> <entries> <retention> <batch>
--
-- The batch is entries: a line "count size +tenant" or "count size -tenant",
-- and so many records of the tenant, each with a line feed behind it; the size
-- is that of the whole entry.  <number> is that of the first record, and they
-- count on from there.  A tenant with no entry of the first kind gets no
-- stream that is not there yet: what was only refused may name anything as a
-- tenant.
--
-- <until> is the time (Unix ms) up to which, with these, all records of the
-- worker have been sent; with "" the worker takes its leave.  A stream keeps
-- about <entries> entries, none older than <retention> (ms), and goes when
-- nothing has come for so long.
--
-- Keys ({T} is the tenant in literal braces):
--   lockbox:{T}:audit    stream: worker, seq (the number of the first record),
--                        records, with line feeds between them
--   lockbox:workers      hash: worker -> "number until" of what it last sent
--
-- The answer is the number of records whose key holds something else.

local worker, number, shipped, entries, retention, batch = unpack(ARGV)

local WORKERS = 'lockbox:workers'
local MOST_WORKERS = 1000

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local oldest = string.format('%.0f', math.max(now - retention, 0))


local function stream_of(tenant)
    return 'lockbox:{' .. tenant .. '}:audit'
end


-- What would stop a later command is looked at before the first one: behind it
-- there is no way back, and all would be sent again.
local function check_rights()
    for _, command in ipairs({
        { 'XADD', stream_of('t'), '*', 'record', '' },
        { 'XTRIM', stream_of('t'), 'MINID', '0' },
        { 'PEXPIRE', stream_of('t'), '1' },
        { 'HSET', WORKERS, worker, '' },
        { 'HDEL', WORKERS, worker }
    }) do
        if not redis.acl_check_cmd(unpack(command)) then
            error({ err = 'ERR no permission for ' .. command[1] })
        end
    end
end


-- Sign, tenant, number of records, and where they begin and end.
local function each_entry()
    local at = 1

    return function()
        local _, head, count, size, sign, tenant =
            string.find(batch, '^(%d+) (%d+) ([+-])([%w._-]+)\n', at)

        if not head then
            return nil
        end

        at = at + size

        return sign, tenant, tonumber(count), head + 1, at - 2
    end
end


-- The tenants of this batch: whether they have a stream, or get one, or have
-- something else in its place.
local function look_around()
    local tenants = {}

    for sign, tenant in each_entry() do
        if not tenants[tenant] then
            tenants[tenant] = redis.call('TYPE', stream_of(tenant)).ok
        end

        if sign == '+' and tenants[tenant] == 'none' then
            tenants[tenant] = 'stream'
        end
    end

    return tenants
end


local function append(tenants, taken)
    local seq, refused = tonumber(number), 0

    for _, tenant, count, first, last in each_entry() do
        if seq > taken and tenants[tenant] == 'stream' then
            redis.call('XADD', stream_of(tenant), 'MAXLEN', '~', entries, '*',
                       'worker', worker, 'seq', string.format('%.0f', seq),
                       'records', string.sub(batch, first, last))
        elseif tenants[tenant] ~= 'none' and tenants[tenant] ~= 'stream' then
            refused = refused + count
        end

        seq = seq + count
    end

    return seq - 1, refused
end


local function trim(tenants)
    for tenant, kind in pairs(tenants) do
        if kind == 'stream' then
            redis.call('XTRIM', stream_of(tenant), 'MINID', '~', oldest)
            redis.call('PEXPIRE', stream_of(tenant), retention)
        end
    end
end


-- Those that are gone without a word are known as long as their records, but
-- not any number of them.
local function forget_workers()
    local flat = redis.call('HGETALL', WORKERS)
    local workers = {}

    for i = 1, #flat, 2 do
        workers[#workers + 1] = {
            name = flat[i],
            last = tonumber(string.match(flat[i + 1], ' (%d+)$')) or 0
        }
    end

    table.sort(workers, function(a, b)
        return a.last > b.last
    end)

    for i, known in ipairs(workers) do
        if i > MOST_WORKERS or known.last < tonumber(oldest) then
            redis.call('HDEL', WORKERS, known.name)
        end
    end
end


check_rights()

if number == '1' then
    forget_workers()
end

local last = redis.call('HGET', WORKERS, worker) or ''
local tenants = look_around()
local seq, refused = append(tenants, tonumber(string.match(last, '^%d+')) or 0)

trim(tenants)

if shipped == '' then
    redis.call('HDEL', WORKERS, worker)
else
    redis.call('HSET', WORKERS, worker,
               string.format('%.0f', seq) .. ' ' .. shipped)
end

return refused
