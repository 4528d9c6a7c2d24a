package Test::Lockbox::Bench;

# The world of the benchmarks: nginx with one worker on a core of its own; the
# tenant API, a second and plain nginx, Redis and wrk on the other one.

use strict;
use warnings;

use Exporter qw(import);
use Fcntl qw(SEEK_SET);
use FindBin ();
use IO::Select;
use JSON::PP ();
use POSIX ();

use Lockbox::Jose qw(b64url_encode decode key);
use Test::Lockbox;
use Test::Lockbox::Conf;
use Test::Lockbox::Vitals;

our @EXPORT = qw(
    $PATH $Tools
    env_number begin finish progress
    tenant_api door worker own_core
    mint forge enliven request requests_of prepare_cache
    load start_load stop_load end_load truncate_logs
    cpu_us lookups spread
);

our $PATH = '/tenants/acme/mail/inbox/4711';

# seconds; less than what a grant may last
my $LIFE = 3 * 3600;

# where the programs are that make builds
our $Tools = "$FindBin::Bin/../../build/bench";

my $CONNECTIONS = 16;
my $STEP = 7919;    # load.lua's

# An access item of the kind that makes a grant of some 750 bytes.
my %ITEM = (
    service => 'mail', methods => [ 'GET', 'POST' ],
    labels => ['confidential'],
    paths => [ '/tenants/acme/mail/', '/tenants/acme/mail/archive/' ],
);

# The same for every side: what differs is what else the location says.
my $LOCATION = <<'EOF_LOCATION';
location ~ ^/tenants/(?<tenant>[^/]+)/(?<service>[^/]+)/ {
    %s
    proxy_http_version  1.1;
    proxy_set_header    Connection "";
    proxy_pass          http://tenant_api;
}
EOF_LOCATION

my $GATE = <<'EOF_GATE';
lockbox          on;
    lockbox_tenant   $tenant;
    lockbox_service  $service;
EOF_GATE

# What the outcome record of an access has, as nginx's own log can tell it.
my @RECORD = (
    '@timestamp'          => '"$time_iso8601"',
    'event.type'          => '"end"',
    'event.outcome'       => '"success"',
    'event.reason'        => '"allow"',
    'event.action'        => '"access"',
    'user.id'             => '"erin"',
    'user.domain'         => '"https://login.vendor.example"',
    'organization.id'     => '"$tenant"',
    'lockbox.request_id'  => '"018bcfe5-6800-7c3a-9d41-5f60718293a4"',
    'lockbox.service'     => '"$service"',
    'event.id'            => '"$request_id"',
    'http.request.method' => '"$request_method"',
    'url.path'            => '"$uri"',
    'source.ip'           => '"$remote_addr"',
    'http.request.id'     => '"$request_id"',
    'http.response.status_code' => '$status',
    'http.response.bytes' => '$body_bytes_sent',
    'user_agent.original' => '"$http_user_agent"',
);

my ($Other, $Own);
my (@Doors, %Loads);

# By process; Perl waits for it when nothing holds the pipe any more.
END {
    kill 'KILL', keys %Loads;
}


sub env_number {
    my ($name, $default) = @_;

    my $value = $ENV{$name} // $default;
    $value =~ /\A[1-9][0-9]*\z/ or die "$name=$value is no number\n";

    return $value + 0;
}

# Standard output is for the result alone; all that is started stays on one
# core but for the worker.
sub begin {
    my $builder = Test::More->builder;

    $builder->output(\my $unread);
    $builder->todo_output(\my $unread_too);

    my ($list) = Test::Lockbox::Vitals::content('/proc/self/status')
        =~ /^Cpus_allowed_list:\s*(\S+)$/m;
    my @cores = map { /(\d+)-(\d+)/ ? $1 .. $2 : $_ } split /,/, $list;

    @cores >= 2 or die "the benchmarks need two cores\n";
    ($Other, $Own) = @cores;

    run_quietly('taskset', '-cp', $Other, $$);
}

sub run_quietly {
    my (@command) = @_;

    my $pid = fork // die "fork: $!\n";

    if ($pid == 0) {
        open STDOUT, '>', '/dev/null';
        exec { $command[0] } @command or POSIX::_exit(127);
    }

    waitpid $pid, 0;
    die "@command failed\n" if $?;
}

# On a core alone, for what is measured beside nginx.
sub own_core {
    return ('taskset', '-c', $Own);
}

sub finish {
    my (%result) = @_;

    $_->finish for @Doors;
    done_testing();
    Test::More->builder->is_passing or die "something went wrong\n";

    print JSON::PP->new->canonical->encode(\%result);
}

sub progress {
    my ($text) = @_;

    printf STDERR "%s\n", $text;
}


# The servers

# Starts the tenant API and returns its port.
sub tenant_api {
    my $t = Test::Lockbox->new;

    $t->write_file('slow', 'x' x 1_000_000);
    $t->write_conf($t->conf(
        module => 0, main => affinity($Other),
        http => 'keepalive_requests 1000000000; keepalive_timeout 1h;',
        locations => <<'EOF_LOCATIONS'));
default_type application/json;

location / {
    return 200 '{"id":4711,"from":"erin@acme.example","subject":"Hello",
 "read":true,"labels":["confidential"],"size":20480}';
}

location = /tenants/acme/mail/slow {
    alias %%TESTDIR%%/slow;
    limit_rate 1000;
}
EOF_LOCATIONS
    $t->run;

    return $t->port(8080);
}

# Starts nginx in a world of its own and returns that: the gate on port 8080,
# the same without on 8010, and with a log of nginx's own on 8011.  Options:
# redis (the path of its socket), api (a port), keepalive (idle connections to
# that) and keepalive_timeout, zone, workers, and texts for directives, gate,
# locations and server.
sub door {
    my (%options) = @_;

    my $t = Test::Lockbox->new;
    my $keys = accepted_key();
    my $workers = $options{workers} // 1;

    $t->write_file('other.pem', $keys->{public_pem});
    $t->write_conf($t->conf(
        workers => $workers,
        main => $workers == 1 ? affinity($Own) : affinity($Own, $Other),
        events => 'accept_mutex off;',
        directives => {
            lockbox_redis => "unix:$options{redis}",
            lockbox_zone => $options{zone} // '16m',
            lockbox_accept_key => '%%TESTDIR%%/other.pem',
            %{ $options{directives} // {} },
        },
        http => http_part(%options),
        server => $options{server},
        locations => sprintf($LOCATION, $GATE . ($options{gate} // ''))
                     . ($options{locations} // '')));
    $t->run;
    push @Doors, $t;

    return $t;
}

sub affinity {
    my (@cores) = @_;

    return join(' ', 'worker_cpu_affinity', map { '1' . '0' x $_ } @cores)
           . ';';
}

sub http_part {
    my (%options) = @_;

    my $keepalive = $options{keepalive} // 64;
    my $timeout = $options{keepalive_timeout} // '1h';
    my $format = '';

    for (my $i = 0; $i < @RECORD; $i += 2) {
        $format .= ($i ? ',' : '') . "\"$RECORD[$i]\":$RECORD[$i + 1]";
    }

    return join "\n",
        "log_format record escape=json '{$format}';",
        'keepalive_requests 1000000000;',
        'keepalive_timeout 1h;',
        "upstream tenant_api { server 127.0.0.1:$options{api};"
            . " keepalive $keepalive; keepalive_timeout $timeout;"
            . ' keepalive_requests 1000000000; }',
        plain_server(8010, ''),
        plain_server(8011, 'access_log %%TESTDIR%%/access.log record;');
}

sub plain_server {
    my ($port, $line) = @_;

    return "server { listen 127.0.0.1:%%PORT_$port%%;\n"
           . sprintf($LOCATION, $line) . '}';
}

# Besides the signing key, which is for ES256.
sub accepted_key {
    return key('RSA2048', 'accepted');
}

sub worker {
    my ($t) = @_;

    my ($pid) = $t->workers;

    return $pid;
}


# Tokens

# Makes grants and returns the file with them, a line each.  Options: count,
# items (the last one is what is asked for), length (of the payload, reached by
# a claim that says nothing), series (a number that no others have), rsa.
sub mint {
    my ($t, %options) = @_;

    my $key = $options{rsa} ? accepted_key()
                            : Test::Lockbox::Conf::signing_key();
    my %parts = template($t, $options{items} // 1, $key);
    my $name = "grants-$options{series}";
    my $jti = delete $parts{payload}{jti};
    my $json = JSON::PP->new->canonical;
    my $header = b64url_encode($json->encode($parts{header}));
    my $payload = $json->encode($parts{payload}) =~ s/\}\z//r;

    $payload .= ',"note":"' . 'x' x ($options{length} - length $payload) . '"'
        if $options{length};

    open my $inputs, '>', $t->testdir . "/$name.in" or die "$name: $!\n";

    for my $n (0 .. $options{count} - 1) {
        my $id = id_of($options{series}, $n);
        print {$inputs} "$header.",
              b64url_encode("$payload,\"jti\":\"$id\"}"), "\n";
    }

    close $inputs or die "$name: $!\n";

    tool($t, $name, 'mint', 'sign', $key->{file});
    unlink $t->testdir . "/$name.in";

    return {
        file => $t->testdir . "/$name.out", count => $options{count},
        series => $options{series}, key => $key, payload => length $payload,
    };
}

# Header and claims of a grant, whose last item is the one that is used.
sub template {
    my ($t, $items, $key) = @_;

    my @others = map { { %ITEM, service => "service-$_" } } 2 .. $items;
    my $parts = decode(Test::Lockbox::Conf::grant($t, live => 0, key => $key,
        iat => time, life => $LIFE, access => [ @others, { %ITEM } ]));

    return %$parts;
}

sub id_of {
    my ($series, $n) = @_;

    return sprintf '%08x-0000-7000-8000-%012x', $series, $n;
}

# Runs a program of ours with NAME.in as its input, and NAME.out for what it
# prints.
sub tool {
    my ($t, $name, @command) = @_;

    my $dir = $t->testdir;
    my $pid = fork // die "fork: $!\n";

    if ($pid == 0) {
        open STDIN, '<', "$dir/$name.in" or POSIX::_exit(127);
        open STDOUT, '>', "$dir/$name.out" or POSIX::_exit(127);
        exec { "$Tools/$command[0]" } @command or POSIX::_exit(127);
    }

    waitpid $pid, 0;
    die "@command failed\n" if $?;
}

# The same grants with signatures that are none.
sub forge {
    my ($t, $grants) = @_;

    open my $in, '<', $grants->{file} or die "$grants->{file}: $!\n";
    open my $out, '>', "$grants->{file}.forged" or die "forged: $!\n";

    while (my $token = <$in>) {
        my ($input) = $token =~ /^(.*)\./;
        my $signature = join '', map { chr int rand 256 } 1 .. 64;
        print {$out} "$input.", b64url_encode($signature), "\n";
    }

    close $out or die "forged: $!\n";

    return { %$grants, file => "$grants->{file}.forged" };
}

# Their live keys.
sub enliven {
    my ($t, $grants) = @_;

    my $redis = $t->redis_client;
    my $end = time + $LIFE;
    my $n = 0;

    while ($n < $grants->{count}) {
        my $first = $n;

        for ( ; $n < $grants->{count} && $n < $first + 500; $n++) {
            $redis->send_command('SET', 'lockbox:grant:{acme}:'
                                 . id_of($grants->{series}, $n),
                                 'live', 'EXAT', $end);
        }

        $redis->reply for $first .. $n - 1;
    }
}

# What wrk is to send: a file of requests that are equally long, one for each
# grant or as many as "count" says, with the grants over and over: to read more
# memory costs wrk more, which who shares the caches with it would feel.
sub requests_of {
    my ($grants, %options) = @_;

    my $count = $options{count} // $grants->{count};
    my $file = "$grants->{file}.requests";

    open my $in, '<', $grants->{file} or die "$grants->{file}: $!\n";
    open my $out, '>:raw', $file or die "$file: $!\n";
    my $length;

    for (1 .. $count) {
        seek $in, 0, SEEK_SET if eof $in;

        chomp(my $token = readline $in);
        my $bytes = request($options{path} // $PATH, $token);

        $length //= length $bytes;
        $length == length $bytes or die "requests of different lengths\n";
        print {$out} $bytes;
    }

    close $out or die "$file: $!\n";

    return { file => $file, length => $length, count => $count,
             grants => $grants->{count} };
}

sub request {
    my ($path, $token) = @_;

    return join "\r\n", "GET $path HTTP/1.1", 'Host: localhost',
                'User-Agent: load-00000000', "Authorization: Bearer $token",
                '', '';
}

# Sends each of them once, and more.
sub prepare_cache {
    my ($t, $requests) = @_;

    my $sent = 0;

    while ($sent < $requests->{grants} + $CONNECTIONS) {
        my $result = load($t->port(8080), $requests,
                          start => $sent * $STEP % $requests->{count});
        $sent += $result->{requests};
        truncate_logs($t);
    }
}


# Load

# Runs wrk and returns what it has measured (see load.lua).  Options: seconds,
# connections, start.
sub load {
    return end_load(start_load(@_));
}

sub start_load {
    my ($port, $requests, %options) = @_;

    local @ENV{qw(LOAD_FILE LOAD_LENGTH LOAD_COUNT LOAD_START)} =
        (@{$requests}{qw(file length count)}, $options{start} // 0);

    my $connections = $options{connections} // $CONNECTIONS;
    my $pid = open my $pipe, '-|', 'wrk', '-t', 1, '-c', $connections,
        '--timeout', '60s', '-d', $options{seconds} // 1,
        '-s', "$FindBin::Bin/load.lua",
        "http://127.0.0.1:$port/"
        or die "wrk: $!\n";

    $Loads{$pid} = $pipe;

    return { pid => $pid, pipe => $pipe };
}

# Asks it to end now.  Only its main thread ends it, and nobody can say which
# thread gets a signal, least of all in a process that has just been stopped.
sub stop_load {
    my ($load) = @_;

    my $answer = IO::Select->new($load->{pipe});

    kill 'CONT', $load->{pid};

    do {
        kill 'INT', $load->{pid};
    } until $answer->can_read(0.2);

    return end_load($load);
}

sub end_load {
    my ($load) = @_;

    my $output = join '', readline $load->{pipe};
    delete $Loads{ $load->{pid} };
    close $load->{pipe} or die "wrk failed: $output\n";

    my ($json) = $output =~ /^(\{.*\})$/m or die "wrk: $output\n";

    return JSON::PP::decode_json($json);
}

# nginx appends, and goes on at the beginning.
sub truncate_logs {
    my ($t) = @_;

    for my $name (qw(audit.log access.log)) {
        truncate $t->testdir . "/$name", 0 if $t->has_file($name);
    }
}


# Figures

# What the process has had of its core, in microseconds.
sub cpu_us {
    my ($pid) = @_;

    my ($ns) = split ' ',
               Test::Lockbox::Vitals::content("/proc/$pid/schedstat");

    return $ns / 1000;
}

# How often Redis was asked for a live key; the trail and the workflow ask for
# other things all the time.
sub lookups {
    my ($t) = @_;

    my ($calls) = $t->redis_cmd('INFO', 'commandstats')
        =~ /^cmdstat_getex:calls=(\d+)/m;

    return $calls // 0;
}

sub spread {
    my ($values, %more) = @_;

    my @sorted = sort { $a <=> $b } @$values;

    return { min => $sorted[0], median => $sorted[@sorted / 2],
             max => $sorted[-1], %more };
}


1;
