-- What wrk sends: the requests of a file, each LOAD_LENGTH bytes long, over
-- and over.  The step is a prime, so that a walk over many of them is no walk
-- along the memory of whoever knows them.

local ffi = require 'ffi'

ffi.cdef [[
    int open(const char *path, int flags, ...);
    int close(int fd);
    void *mmap(void *at, size_t len, int prot, int flags, int fd, long from);
]]

local PROT_READ, MAP_SHARED = 1, 1
local STEP = 7919

local length = tonumber(os.getenv('LOAD_LENGTH'))
local count = tonumber(os.getenv('LOAD_COUNT'))
local at = tonumber(os.getenv('LOAD_START')) % count
local fd = ffi.C.open(os.getenv('LOAD_FILE'), 0)

assert(fd >= 0, 'no file of requests')

local base = ffi.cast('const char *',
                      ffi.C.mmap(nil, length * count, PROT_READ, MAP_SHARED,
                                 fd, 0))

assert(ffi.cast('intptr_t', base) ~= -1, 'mmap failed')
ffi.C.close(fd)

-- Each request bears a number in the place of these digits.  Lua keeps equal
-- texts once: were they all the same, to make them would cost less than to
-- make those with many tokens, and who shares the core would be faster for it.
local DIGITS = '00000000'
local place = assert(ffi.string(base, length):find(DIGITS, 1, true)) - 1
local bytes = ffi.new('char[?]', length)
local number = 0


function request()
    local rest = number

    ffi.copy(bytes, base + at * length, length)

    for i = place + #DIGITS - 1, place, -1 do
        bytes[i] = 48 + rest % 10
        rest = math.floor(rest / 10)
    end

    at = (at + STEP) % count
    number = (number + 1) % 100000000

    return ffi.string(bytes, length)
end


-- Times in microseconds.
function done(summary, latency)
    local errors = summary.errors

    io.write(string.format('{"requests":%d,"duration":%d,"p50":%f,"p99":%f,' ..
                           '"refused":%d,"broken":%d}\n',
                           summary.requests, summary.duration,
                           latency:percentile(50), latency:percentile(99),
                           errors.status, errors.connect + errors.read
                           + errors.write + errors.timeout))
end
