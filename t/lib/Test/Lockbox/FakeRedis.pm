package Test::Lockbox::FakeRedis;

# A Redis that misbehaves on demand.  It listens on fake.sock and hands every
# command to the real Redis of the test, on redis.sock, and the reply back: so
# it greets, looks up and runs scripts as Redis does, until rules say
# otherwise.  It keeps account of all that it is told.
#
# A rule is { match => pattern, play => [step, ...], times => n }.  The first
# one whose pattern matches the words of a command, joined by blanks, plays its
# steps instead of the reply; with "times" it does so that often.  A connection
# that comes in is the command "CONNECT", and a message that the real Redis
# pushes is the command "MESSAGE" and its keys, whose reply it is.  The steps of
# a connection are played one after the other, those of one command after those
# of the command before:
#
#     "bytes"           sends them
#     [ 'reply' ]       lets the real Redis have the command, sends its reply;
#     [ 'reply', 4 ]    only so many bytes of it, 0 for none
#     [ 'taken' ]       waits until the peer has read everything sent so far
#     [ 'wait', name ]  waits until release(name)
#     [ 'close' ]       closes the connection

use strict;
use warnings;

use Errno;
use Exporter qw(import);
use IO::Select;
use IO::Socket::UNIX;
use POSIX ();
use Socket;
use Storable qw(freeze thaw);

use Test::Lockbox::Process qw(poll);
use Test::Lockbox::Redis;

our @EXPORT_OK = qw(halted taken);

# What is wrong when the real Redis has closed a connection.
my $CLOSED = "Redis closed\n";

# TIOCOUTQ of Linux: how much of what was sent has not been read yet.
my $OUTQ = 0x5411;

my %STEPS = (
    reply => \&play_reply, taken => \&play_taken, wait => \&play_wait,
    close => \&play_close,
);


# For the test

# Starts it in that world.  Without "lease" it refuses the heartbeats, so that
# nginx trusts nothing that it was told before and asks for each request.
sub new {
    my ($class, $t, %options) = @_;

    my ($ours, $its) = IO::Socket->socketpair(AF_UNIX, SOCK_STREAM, PF_UNSPEC)
        or die "socketpair: $!\n";
    my $daemon = bless {
        path => $t->testdir . '/fake.sock',
        behind => $t->testdir . '/redis.sock',
        control => $its, standing => standing(%options), rules => [],
        seen => [], torn => [], released => {}, connections => {}, count => 0,
    }, $class;

    # made before the fork, so that nobody waits for it
    $daemon->listen;

    my $process = $t->start_process('fake', code => sub {
        close $ours;
        $daemon->serve;
    });

    # it ends with its control connection, which is not to be sooner than the
    # test ends it
    $process->keep($ours);
    close $its;

    return bless { control => $ours }, $class;
}

sub standing {
    my (%options) = @_;

    return [] if $options{lease} // 1;
    return [ { match => qr/^DEL lockbox:heartbeat$/,
               play => ["-READONLY There is no lease.\r\n"] } ];
}

# Replaces all rules.
sub rules {
    my ($self, @rules) = @_;

    $self->tell('rules', @rules);
}

sub release {
    my ($self, @names) = @_;

    $self->tell('release', @names);
}

# Plays steps on the connections of that name ("gate", "admin") without having
# been asked.
sub say {
    my ($self, $name, @steps) = @_;

    $self->tell('say', $name, @steps);
}

# Waits until the peers of that name have read all that there is for them.
sub told {
    my ($self, $name) = @_;

    poll(sub { ($self->tell('untold', $name))[0] == 0 })
        or die "$name does not listen\n";
}

# The bytes of a command that has not come wholly, on connections of that name.
sub begun {
    my ($self, $name) = @_;

    return ($self->tell('begun', $name))[0];
}

# The same of the connections that ended since forget(), one after the other.
sub torn {
    my ($self) = @_;

    return $self->tell('torn');
}

# Closes the socket and all connections: whoever comes now is refused.
sub refuse {
    my ($self) = @_;

    $self->tell('refuse');
}

# Listens again.
sub accept {
    my ($self) = @_;

    $self->tell('accept');
}

# The commands since forget() that match, each [ number of the connection,
# word, ... ].
sub seen {
    my ($self, $pattern) = @_;

    return grep { words($_) =~ $pattern } $self->tell('seen');
}

sub forget {
    my ($self) = @_;

    $self->tell('forget');
}

# Waits for so many commands that match, and returns them.
sub await {
    my ($self, $pattern, $count) = @_;

    $count //= 1;

    my $seen = poll(sub {
        my @seen = $self->seen($pattern);
        return @seen >= $count && \@seen;
    });

    return @{ $seen // die "waited in vain for $count of $pattern\n" };
}

# The numbers of the connections of that name.
sub connections {
    my ($self, $name) = @_;

    return $self->tell('connections', $name);
}

sub words {
    my ($command) = @_;

    return join ' ', @$command[1 .. $#$command];
}

# Does the work while a process stands still, which then finds all of it at
# once.
sub halted {
    my ($pid, $work) = @_;

    kill 'STOP', $pid;
    poll(sub { state_of($pid) eq 'T' }) or die "$pid does not stand still\n";
    $work->();
    kill 'CONT', $pid;
}

sub state_of {
    my ($pid) = @_;

    open my $fh, '<', "/proc/$pid/stat" or die "/proc/$pid/stat: $!\n";
    my ($state) = <$fh> =~ /\) (\S) /;

    return $state;
}

# Whether the peer of a Unix socket has read all that was sent to it.
sub taken {
    my ($socket) = @_;

    my $unread = pack 'i', 0;

    ioctl $socket, $OUTQ, $unread or die "TIOCOUTQ: $!\n";

    return unpack('i', $unread) == 0;
}

# One order to the daemon, and what it answers.
sub tell {
    my ($self, @order) = @_;

    send_frozen($self->{control}, @order);

    return @{ receive_frozen($self->{control}) // die "no fake Redis\n" };
}

sub send_frozen {
    my ($socket, @values) = @_;

    my $bytes = pack 'N/a', freeze(\@values);

    while (length $bytes) {
        my $sent = syswrite($socket, $bytes) // die "control: $!\n";
        substr($bytes, 0, $sent) = '';
    }
}

sub receive_frozen {
    my ($socket) = @_;

    my $head = receive_bytes($socket, 4) // return;

    return thaw(receive_bytes($socket, unpack 'N', $head));
}

sub receive_bytes {
    my ($socket, $count) = @_;

    my $bytes = '';

    while (length $bytes < $count) {
        sysread $socket, $bytes, $count - length $bytes, length $bytes
            or return;
    }

    return $bytes;
}


# The daemon

sub serve {
    my ($self) = @_;

    local $SIG{PIPE} = 'IGNORE';

    while (1) {
        my $select = IO::Select->new($self->{control},
                                     $self->{listener} // (),
                                     map { ($_->{socket}, behind($_)) }
                                         $self->all);
        my $waiting = grep { $_->{untaken} } $self->all;

        for my $ready ($select->can_read($waiting ? 0.001 : undef)) {
            $self->attend($ready);
        }

        $self->play($_) for $self->all;
    }
}

sub all {
    my ($self) = @_;

    return values %{ $self->{connections} };
}

sub attend {
    my ($self, $ready) = @_;

    if ($ready == $self->{control}) {
        my $order = receive_frozen($ready) // POSIX::_exit(0);
        my ($name, @values) = @$order;
        my $method = "order_$name";
        send_frozen($ready, $self->$method(@values));

    } elsif ($ready == ($self->{listener} // 0)) {
        $self->welcome($ready->accept // return);

    } elsif (my $connection = $self->{connections}{ fileno $ready // -1 }) {
        $self->hear($connection);

    } elsif (my ($listening) = grep { (behind($_) // 0) == $ready }
                                    $self->all)
    {
        $self->overhear($listening);
    }
}

# The socket of the real Redis, if there is one for that connection.
sub behind {
    my ($connection) = @_;

    return $connection->{redis} ? $connection->{redis}->socket : ();
}

sub order_rules {
    my ($self, @rules) = @_;

    $self->{rules} = \@rules;

    return;
}

sub order_release {
    my ($self, @names) = @_;

    $self->{released}{$_} = 1 for @names;

    return;
}

sub order_say {
    my ($self, $name, @steps) = @_;

    push @{ $_->{steps} }, map { [ $_, [] ] } @steps for $self->named($name);

    return;
}

sub order_untold {
    my ($self, $name) = @_;

    return scalar grep { @{ $_->{steps} } || !taken($_->{socket}) }
                  $self->named($name);
}

sub order_begun {
    my ($self, $name) = @_;

    my $bytes = 0;
    $bytes += length $_->{buffer} for $self->named($name);

    return $bytes;
}

sub order_torn {
    my ($self) = @_;

    return @{ $self->{torn} };
}

sub order_refuse {
    my ($self) = @_;

    close delete $self->{listener} if $self->{listener};
    $self->drop($_) for $self->all;

    return;
}

sub order_accept {
    my ($self) = @_;

    $self->listen if !$self->{listener};

    return;
}

sub order_seen {
    my ($self) = @_;

    return @{ $self->{seen} };
}

sub order_forget {
    my ($self) = @_;

    $self->{seen} = [];
    $self->{torn} = [];

    return;
}

sub order_connections {
    my ($self, $name) = @_;

    return map { $_->{number} } $self->named($name);
}

sub named {
    my ($self, $name) = @_;

    return grep { $_->{name} eq "lockbox-$name" } $self->all;
}

sub listen {
    my ($self) = @_;

    unlink $self->{path};
    $self->{listener} = IO::Socket::UNIX->new(Local => $self->{path},
                                              Listen => 128)
        // die "listen on $self->{path}: $!\n";
}

sub welcome {
    my ($self, $socket) = @_;

    my $connection = $self->{connections}{ fileno $socket } = {
        socket => $socket, number => ++$self->{count}, name => '',
        buffer => '', steps => [], untaken => 0,
    };

    $self->obey($connection, 'CONNECT');
}

sub hear {
    my ($self, $connection) = @_;

    my $read = sysread $connection->{socket}, $connection->{buffer}, 65536,
                       length $connection->{buffer};

    return $self->drop($connection) if !$read;

    while (my $words = take_command(\$connection->{buffer})) {
        $self->obey($connection, @$words);
    }
}

# What the real Redis says without being asked.
sub overhear {
    my ($self, $connection) = @_;

    do {
        my $message = eval { raw_reply($connection->{redis}) };

        return $self->drop($connection) if !defined $message;

        $self->pushed($connection, $message);
    } while ($connection->{redis}->buffered);
}

sub pushed {
    my ($self, $connection, $message) = @_;

    my (undef, undef, @keys) = $message =~ /\$\d+\r\n(.*?)\r\n/gs;

    local $self->{message} = $message;
    $self->obey($connection, 'MESSAGE', @keys);
}

# Takes a command off the buffer, unless some of it is still to come.
sub take_command {
    my ($buffer) = @_;

    return if $$buffer !~ /\r\n/;

    my ($count) = $$buffer =~ /\A\*(\d+)\r\n/ or die "no RESP2: $$buffer\n";
    my $at = $+[0];
    my @words;

    for (1 .. $count) {
        pos($$buffer) = $at;
        $$buffer =~ /\G\$(\d+)\r\n/g or return;

        my ($length, $start) = ($1, $+[0]);

        $at = $start + $length + 2;
        return if length $$buffer < $at;

        substr($$buffer, $at - 2, 2) eq "\r\n"
            or die "no RESP2: $$buffer\n";
        push @words, substr $$buffer, $start, $length;
    }

    substr($$buffer, 0, $at) = '';

    return \@words;
}

sub obey {
    my ($self, $connection, @words) = @_;

    my $command = join ' ', @words;

    push @{ $self->{seen} }, [ $connection->{number}, @words ];
    $connection->{name} = $words[2] if $command =~ /^CLIENT SETNAME /;

    my ($rule) = grep { $command =~ $_->{match} && ($_->{times} // 1) > 0 }
                 @{ $self->{rules} }, @{ $self->{standing} };
    my @steps = $rule ? @{ $rule->{play} }
              : $command eq 'CONNECT' ? () : [ 'reply' ];

    $rule->{times}-- if $rule && defined $rule->{times};
    push @{ $connection->{steps} },
        map { [ $_, \@words, $self->{message} ] } @steps;
}

# As many steps as can be taken.
sub play {
    my ($self, $connection) = @_;

    my $steps = $connection->{steps};

    while (@$steps) {
        my ($step, $words, $message) = @{ $steps->[0] };
        my ($name, @more) = ref $step ? @$step : ();

        # what was pushed is here already
        ($name, $step) = (undef, $message)
            if defined $message && ($name // '') eq 'reply';

        if (!defined $name) {
            send_bytes($connection, $step);
        } else {
            $STEPS{$name}->($self, $connection, $words, @more) or last;
        }

        shift @$steps;
    }
}

sub play_reply {
    my ($self, $connection, $words, $length) = @_;

    my $redis = $connection->{redis}
        //= Test::Lockbox::Redis->new($self->{behind});

    $redis->send_command(@$words);

    while (1) {
        my $reply = eval { raw_reply($redis) };

        # whoever is behind a proxy learns by its end that Redis has closed
        if (!defined $reply) {
            die $@ if $@ ne $CLOSED;
            $self->drop($connection);
            return 0;
        }

        if ($reply !~ /\A\*3\r\n\$7\r\nmessage\r\n/) {
            send_bytes($connection, substr $reply, 0,
                       $length // length $reply);
            return 1;
        }

        $self->pushed($connection, $reply);
    }
}

sub play_taken {
    my ($self, $connection) = @_;

    $connection->{untaken} = !taken($connection->{socket});

    return !$connection->{untaken};
}

sub play_wait {
    my ($self, $connection, $words, $name) = @_;

    return $self->{released}{$name};
}

# The last step of all.
sub play_close {
    my ($self, $connection) = @_;

    $self->drop($connection);

    return 0;
}

sub drop {
    my ($self, $connection) = @_;

    push @{ $self->{torn} }, length $connection->{buffer}
        if length $connection->{buffer};
    delete $self->{connections}{ fileno $connection->{socket} };
    close $connection->{socket};
    $connection->{steps} = [];
}

# A peer that is gone wants nothing any more.
sub send_bytes {
    my ($connection, $bytes) = @_;

    while (length $bytes) {
        my $sent = syswrite $connection->{socket}, $bytes;

        if (defined $sent) {
            substr($bytes, 0, $sent) = '';
        } elsif (!$!{EINTR}) {
            return;
        }
    }
}

# The bytes of one reply.
sub raw_reply {
    my ($redis) = @_;

    my $line = $redis->read_until(qr/\r\n/) // die $CLOSED;
    my ($type, $count) = $line =~ /^([-+:\$*])(-?\d*)/
        or die "no RESP2: \"$line\"\n";

    return $line if $type =~ /[-+:]/ || $count < 0;
    return $line . $redis->read_bytes($count + 2) if $type eq '$';
    return join '', $line, map { raw_reply($redis) } 1 .. $count;
}


1;
