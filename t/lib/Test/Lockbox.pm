package Test::Lockbox;

# One test's own little world: a directory, ports, nginx, Redis and a tenant
# API, started by need and stopped in reverse.  "use Test::Lockbox" brings
# Test::More along; its done_testing() adds the checks of finish().

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use File::Path qw(remove_tree);
use File::Spec;
use File::Temp ();
use IO::Socket::INET;
use JSON::PP ();
use List::Util qw(max min);
use POSIX qw(:sys_wait_h);
use Test::More ();
use Time::HiRes ();

use Lockbox::Jose ();
use Test::Lockbox::Conf;
use Test::Lockbox::Http;
use Test::Lockbox::Process qw(poll);
use Test::Lockbox::Redis;
use Test::Lockbox::Upstream;

my $ROOT = abs_path(dirname(__FILE__) . '/../../..');
my $OWNER = $$;
my @Worlds;

# Seconds after which a test that still runs has failed; 0 for any time.
my $LIMIT = $ENV{LOCKBOX_LIMIT} // 0;

# What must not be in an error log, whatever the level.
my $FAULT = qr{
    \[alert\] | \[emerg\] | http\ request\ count\ is\ zero | open\ socket
    | exited\ on\ signal | AddressSanitizer | LeakSanitizer | runtime\ error:
    | ^==\d+==\ # valgrind
}x;


sub import {
    my ($class) = @_;

    my $caller = caller;

    Test::More->export_to_level(1, $class);

    no strict 'refs';
    no warnings 'redefine';
    *{"${caller}::done_testing"} = \&done_testing;
}

sub done_testing {
    $_->finish for @Worlds;

    Test::More::done_testing();
}

# Whatever ends the test, nothing is left running.
END {
    local $?;

    if ($$ == $OWNER) {
        $_->finish for @Worlds;
    }
}


# new(expects_emerg => 1): nginx is to fail, and its [emerg] lines are fine.
sub new {
    my ($class, %options) = @_;

    $SIG{$_} //= sub { exit 1 } for qw(INT TERM HUP);
    $SIG{ALRM} = \&give_up;
    alarm $LIMIT;

    # who reads the results may leave before all has been stopped
    $SIG{PIPE} //= 'IGNORE';

    # the path of a Unix socket has 107 bytes at most
    my $tmp = length File::Spec->tmpdir > 80 ? '/tmp' : File::Spec->tmpdir;

    my $self = bless {
        testdir => File::Temp::tempdir('lbXXXXXX', DIR => $tmp),
        ports => {}, processes => [], problems => [], expected => [],
    }, $class;

    $self->expect_log(qr/\[emerg\]/) if $options{expects_emerg};
    push @Worlds, $self;

    return $self;
}

# Not an exception, which the code that goes on and on may catch.
sub give_up {
    Test::More::diag("not done within $LIMIT s");
    exit 1;
}

sub testdir {
    my ($self) = @_;

    return $self->{testdir};
}

# The checks that every test ends with.
sub finish {
    my ($self) = @_;

    return if $self->{finished}++;

    $self->stop_process($_) for reverse @{ $self->{processes} };

    my @cores = map { s{.*/}{}r } glob "$self->{testdir}/core*";

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    Test::More::is(join("\n", @{ $self->{problems} }), '',
                   'everything ran until it was asked to stop');
    Test::More::is(join("\n", $self->faults), '', 'no fault in the logs');
    Test::More::is("@cores", '', 'no core file');

    my @missing = grep { !$_->{seen} } @{ $self->{expected} };
    Test::More::is(join("\n", map { $_->{pattern} } @missing), '',
                   'the logs have the faults that were expected')
        if @{ $self->{expected} };

    $self->explain unless Test::More->builder->is_passing;

    if ($ENV{LOCKBOX_KEEP}) {
        Test::More::diag("kept: $self->{testdir}");
    } else {
        remove_tree($self->{testdir});
    }
}

# The lines in the logs that no test may leave there.
sub faults {
    my ($self) = @_;

    my @faults;

    for my $line (map { split /\n/, $self->read_file($_) }
                  grep { $self->has_file($_) } qw(error.log nginx.out))
    {
        next unless $line =~ $FAULT;

        my @expected = grep { $line =~ $_->{pattern} } @{ $self->{expected} };
        $_->{seen} = 1 for @expected;
        push @faults, $line unless @expected;
    }

    return @faults;
}

# Lines that match are no faults; there must be one in the end.
sub expect_log {
    my ($self, $pattern) = @_;

    push @{ $self->{expected} }, { pattern => $pattern };
}

sub explain {
    my ($self) = @_;

    for my $file (qw(nginx.out error.log)) {
        next unless $self->has_file($file);

        my @lines = split /\n/, $self->read_file($file);
        my ($report) = grep { $lines[$_] =~ /Sanitizer|runtime error:/ }
                       0 .. $#lines;

        explain_with("the first report in $file:",
                     @lines[$report .. min($report + 50, $#lines)])
            if defined $report;
        explain_with("the end of $file:",
                     @lines[max($#lines - 29, 0) .. $#lines]);
    }
}

sub explain_with {
    Test::More::diag(join "\n", @_);
}


# Files, ports, time

sub has_file {
    my ($self, $name) = @_;

    return -e "$self->{testdir}/$name";
}

sub read_file {
    my ($self, $name) = @_;

    open my $fh, '<:raw', "$self->{testdir}/$name" or die "$name: $!\n";
    local $/;

    return <$fh> // '';
}

# Bytes, after expand(); returns the path.
sub write_file {
    my ($self, $name, $text) = @_;

    my $path = "$self->{testdir}/$name";

    open my $fh, '>:raw', $path or die "$name: $!\n";
    print {$fh} $self->expand($text);
    close $fh or die "$name: $!\n";

    return $path;
}

sub write_conf {
    my ($self, $text) = @_;

    return $self->write_file('nginx.conf', $text);
}

# Fills in %%TESTDIR%%, %%REDIS%%, %%MODULE%% and %%PORT_8080%% and the like.
sub expand {
    my ($self, $text) = @_;

    my $module = $ENV{LOCKBOX_MODULE}
        // "$ROOT/build/ngx_http_lockbox_module.so";

    my %values = (
        TESTDIR => $self->{testdir},
        REDIS   => "unix:$self->{testdir}/redis.sock",
        MODULE  => $ENV{LOCKBOX_STATIC} ? '' : "load_module $module;",
    );

    return $text =~ s{%%(?:PORT_(\d+)|([A-Z]+))%%}
                     { defined $1 ? $self->port($1)
                                  : $values{$2} // die "no %%$2%%\n" }ger;
}

# The port of 127.0.0.1 that goes by that number in this test.  A UDP socket
# of the same number keeps it from other tests; and it is below those that
# the kernel gives to clients.
sub port {
    my ($self, $number) = @_;

    $self->{ports}{$number} //= free_port();

    return $self->{ports}{$number}{port};
}

sub free_port {
    for (1 .. 1000) {
        my $port = 10000 + int rand 20000;
        my %address = (LocalAddr => '127.0.0.1', LocalPort => $port);

        my $lock = IO::Socket::INET->new(%address, Proto => 'udp') or next;
        IO::Socket::INET->new(%address, Listen => 1, ReuseAddr => 1) or next;

        return { port => $port, lock => $lock };
    }

    die "no free port\n";
}

# Calls the check until it returns something true, and returns that; dies
# with what was waited for if it never does.
sub wait_for {
    my ($self, $check, $seconds, $what) = @_;

    return poll($check, $seconds) // die "waited in vain for $what\n";
}


# Processes

sub start_process {
    my ($self, $name, %options) = @_;

    my $process = Test::Lockbox::Process->start(
        name => $name, dir => $self->{testdir},
        output => "$self->{testdir}/$name.out", %options);

    push @{ $self->{processes} }, $process;
    $self->{$name} = $process;

    return $process;
}

# Returns 1 if the process and all its children ended when asked to; if not,
# that is a failure of the test in the end.
sub stop_process {
    my ($self, $process) = @_;

    my $name = $process->name;
    my $problem = $name eq 'nginx'
            ? $process->stop('QUIT', $self->masters($process))
        : $name eq 'upstream'
            ? $process->stop('TERM', $process->members)
            : $process->stop('TERM');

    $self->forget($process);
    push @{ $self->{problems} }, $problem if $problem;

    return $problem eq '';
}

sub forget {
    my ($self, $process) = @_;

    $self->{processes} = [ grep { $_ != $process } @{ $self->{processes} } ];
    delete $self->{ $process->name };
}

# After a binary upgrade there are two masters to ask.
sub masters {
    my ($self, $process) = @_;

    my %members = map { $_ => 1 } $process->members;

    return grep { $members{$_} } map { $self->read_file($_) =~ /(\d+)/ }
           grep { $self->has_file($_) } qw(nginx.pid nginx.pid.oldbin);
}


# nginx

sub nginx_binary {
    return $ENV{LOCKBOX_NGINX} if defined $ENV{LOCKBOX_NGINX};

    my ($binary) = grep { -x } map({ "$_/nginx" } split /:/, $ENV{PATH}),
                               '/usr/sbin/nginx';

    return $binary // die "no nginx: LOCKBOX_NGINX can name one\n";
}

# A whole configuration; see Test::Lockbox::Conf for its parts.
sub conf {
    my ($self, %parts) = @_;

    return Test::Lockbox::Conf::nginx_conf($self, %parts);
}

# Starts nginx with nginx.conf.  Its sockets listen when this returns.  With
# upgradable => 1 it can upgrade(), but its exit status is lost.
sub run {
    my ($self, %options) = @_;

    my $dir = $self->{testdir};
    my @command = (nginx_binary(), '-p', "$dir/", '-c', "$dir/nginx.conf",
                   '-e', "$dir/error.log");

    my $nginx = $self->start_process('nginx', $options{upgradable}
        ? (code => sub { $self->run_orphaned(@command) })
        : (command => \@command));

    my $started = sub {
        return 1 unless $nginx->running || $nginx->members;
        # until then nginx ignores USR2
        return if $options{upgradable} && $nginx->running;
        return $self->masters($nginx) && $self->has_workers;
    };

    $self->wait_for($started, undef, 'nginx to start');

    if (!$nginx->members) {
        $self->forget($nginx);
        die "nginx did not start\n";
    }
}

# nginx upgrades its binary only after the parent that it was born to is gone.
sub run_orphaned {
    my ($self, @command) = @_;

    my $pid = fork // die "fork: $!\n";

    if ($pid == 0) {
        exec { $command[0] } @command or POSIX::_exit(127);
    }

    poll(sub { $self->has_file('nginx.pid') || waitpid $pid, WNOHANG });
}

# Gracefully (SIGQUIT).
sub stop {
    my ($self) = @_;

    return $self->stop_process($self->{nginx});
}

# To the master, or to the old one of two if the file is nginx.pid.oldbin.
sub signal {
    my ($self, $signal, $file) = @_;

    my ($pid) = $self->read_file($file // 'nginx.pid') =~ /(\d+)/;
    kill $signal, $pid;
}

# The pids of the workers that take new connections.
sub workers {
    my ($self) = @_;

    return grep { $self->title($_) eq 'nginx: worker process' }
           $self->{nginx}->members;
}

# What nginx calls a process; under valgrind only the log tells.
sub title {
    my ($self, $pid) = @_;

    open my $fh, '<', "/proc/$pid/cmdline" or return '';
    my $title = (<$fh> // '') =~ s/[\0 ]+\z//r;

    return $title unless $title =~ /valgrind/;

    my $log = $self->read_file('error.log');

    return $log =~ /\[notice\] $pid#\d+: (?:gracefully shutting down|exiting)/
            ? 'nginx: worker process is shutting down'
        : $log =~ /: start worker process $pid$/m
            ? 'nginx: worker process' : 'nginx: master process';
}

# Whether as many workers as configured take new connections, not counting
# those given.
sub has_workers {
    my ($self, @old) = @_;

    my %old = map { $_ => 1 } @old;
    my ($wanted) = $self->read_file('nginx.conf') =~ /worker_processes (\d+)/;

    return (grep { !$old{$_} } $self->workers) == ($wanted // 1);
}

# Reloads.  When this returns new workers have taken over, and old ones, if
# any are left, only finish what they have.  Dies if nginx refuses.
sub reload {
    my ($self) = @_;

    my %old = map { $_ => 1 } $self->workers;
    my $from = length $self->read_file('error.log');

    $self->signal('HUP');

    my $done = sub {
        my $log = substr $self->read_file('error.log'), $from;
        die "nginx refused to reload: $log\n" if $log =~ /\[emerg\]/;

        return $self->has_workers && !grep { $old{$_} } $self->workers;
    };

    $self->wait_for($done, undef, 'new workers');
}

# Upgrades the binary.  When this returns the old master is about to go, and
# its workers only finish what they have.
sub upgrade {
    my ($self) = @_;

    my @old = $self->workers;

    $self->signal('USR2');
    $self->wait_for(sub {
        return $self->has_file('nginx.pid.oldbin') && $self->has_workers(@old);
    }, undef, 'a new master');

    $self->signal('QUIT', 'nginx.pid.oldbin');
    $self->wait_for(sub { $self->has_workers }, undef,
                    'the old workers to stop');
}

# Exit status and output of nginx -t, with nginx.conf or the text given.  It
# logs to a file of its own, for what it refuses is no fault.
sub nginx_test {
    my ($self, $text) = @_;

    my $dir = $self->{testdir};

    $text //= $self->read_file('nginx.conf');
    $self->write_file('nginx-t.conf',
                      $self->expand($text) =~ s{/error\.log}{/nginx-t.log}gr);

    my $binary = nginx_binary();

    local $?;
    my $output = `$binary -t -p $dir/ -c $dir/nginx-t.conf -e stderr 2>&1`;
    my $exit = $? >> 8 || $? & 127;

    return ($exit, $output);
}


# HTTP

# Sends a request and returns the response (see Test::Lockbox::Http, also for
# the options); "port" is 8080 unless told.
sub http {
    my ($self, $method, $uri, %options) = @_;

    return $self->http_start($method, $uri, %options)->response;
}

# Sends a request and returns the connection, to read the response bit by bit.
sub http_start {
    my ($self, $method, $uri, %options) = @_;

    return $self->http_connect(%options)->request($method, $uri, %options);
}

# Sends bytes and returns the first response.
sub http_raw {
    my ($self, $bytes, %options) = @_;

    my $connection = $self->http_connect(%options);
    $connection->send($bytes);

    return $connection->response;
}

sub http_connect {
    my ($self, %options) = @_;

    return Test::Lockbox::Http->new($self->port($options{port} // 8080));
}


# Redis

# Starts Redis on redis.sock, and on a port if "port" gives its number.
# "options" are further ones of the command line, "name" is for a second one.
sub redis {
    my ($self, %options) = @_;

    my $name = $options{name} // 'redis';
    my $socket = "$self->{testdir}/$name.sock";

    unlink $socket;

    my $redis = $self->start_process($name, command => [
        $ENV{LOCKBOX_REDIS} // 'redis-server',
        '--port', defined $options{port} ? $self->port($options{port}) : 0,
        '--bind', '127.0.0.1', '--unixsocket', $socket,
        '--save', '', '--appendonly', 'no', '--dir', $self->{testdir},
        '--dbfilename', "$name.rdb", @{ $options{options} // [] } ]);

    my $answers = sub {
        die "Redis did not start\n" unless $redis->running;

        my $client = eval { Test::Lockbox::Redis->new($socket) } or return;
        $client->send_command('PING');
        my $reply = eval { $client->reply } // return;
        return ref $reply ? $$reply !~ /^LOADING/ : 1;
    };

    $self->wait_for($answers, undef, 'Redis to answer');

    return $redis;
}

sub redis_stop {
    my ($self, $name) = @_;

    return $self->stop_process($self->{ $name // 'redis' });
}

# A connection of its own, for what redis_cmd() is too simple for.
sub redis_client {
    my ($self, $name) = @_;

    return Test::Lockbox::Redis->new(
        "$self->{testdir}/" . ($name // 'redis') . '.sock');
}

# Runs one command and returns the reply; dies if it is an error.
sub redis_cmd {
    my ($self, @argv) = @_;

    return $self->redis_client->command(@argv);
}


# The tenant API

# Starts it on port 8081, or on the "port" given; "handler" answers instead
# of an echo of the request (see Test::Lockbox::Upstream).
sub upstream {
    my ($self, %options) = @_;

    my $listener = Test::Lockbox::Upstream::listener(
        $self->port($options{port} // 8081));
    my $record = "$self->{testdir}/upstream.log";

    return $self->start_process('upstream', code => sub {
        Test::Lockbox::Upstream::serve($listener, $record, $options{handler});
    });
}

# All requests so far, each with method, uri, headers and body.
sub upstream_requests {
    my ($self) = @_;

    return $self->json_lines('upstream.log');
}

# The number of connections so far, with or without a request.
sub upstream_connections {
    my ($self) = @_;

    return 0 unless $self->has_file('upstream.log.connections');
    return $self->read_file('upstream.log.connections') =~ tr/\n//;
}


# What the module says and wants to hear

# The audit records so far.
sub audit {
    my ($self) = @_;

    return $self->json_lines('audit.log');
}

sub json_lines {
    my ($self, $name) = @_;

    return unless $self->has_file($name);

    my $json = JSON::PP->new->utf8;

    return map { $json->decode($_) } $self->read_file($name) =~ /(.*)\n/g;
}

# See Test::Lockbox::Conf.
sub identity {
    my ($self, $role, %options) = @_;

    return Test::Lockbox::Conf::identity($role, %options);
}

sub grant {
    my ($self, %options) = @_;

    return Test::Lockbox::Conf::grant($self, %options);
}


1;
