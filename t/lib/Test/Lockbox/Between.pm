package Test::Lockbox::Between;

# A proxy before a server on a Unix socket that can fall silent: connections
# on which a certain text was or is sent stay open, and nothing passes any
# more.

use strict;
use warnings;

use IO::Select;
use IO::Socket::UNIX;

use Test::Lockbox::Process qw(poll);


# Starts it on NAME.sock in the directory of the test, for the connections
# that the pattern matches.
sub start {
    my ($class, $t, $name, $server, $pattern) = @_;

    my $path = $t->testdir . "/$name.sock";
    my $listener = IO::Socket::UNIX->new(Local => $path, Listen => 64)
        or die "$path: $!\n";
    my $self = bless { path => $path, mark => "$path.silent" }, $class;

    $self->{process} = $t->start_process($name, code => sub {
        $self->serve($listener, $server, $pattern);
    });

    return $self;
}

sub path {
    my ($self) = @_;

    return $self->{path};
}

# Falls silent, until sound() closes the connections that were.
sub silence {
    my ($self) = @_;

    $self->{process}->signal('USR1');
    poll(sub { -e $self->{mark} }) or die "the proxy does not obey\n";
}

sub sound {
    my ($self) = @_;

    $self->{process}->signal('USR2');
    poll(sub { !-e $self->{mark} }) or die "the proxy does not obey\n";
}


# In the process of its own

sub serve {
    my ($self, $listener, $server, $pattern) = @_;

    my $all = $self->{all} = IO::Select->new($listener);
    $self->{pairs} = {};

    $SIG{USR1} = sub { $self->{wanted} = 'silence' };
    $SIG{USR2} = sub { $self->{wanted} = 'sound' };

    while (1) {
        my @ready = $all->can_read(0.005);

        $self->obey(delete $self->{wanted}) if $self->{wanted};

        for my $socket (@ready) {
            if ($socket == $listener) {
                $self->join_up($listener, $server);
            } elsif ($all->exists($socket)) {
                $self->pass_on($socket, $pattern);
            }
        }
    }
}

sub join_up {
    my ($self, $listener, $server) = @_;

    my $client = $listener->accept // return;
    my $other = IO::Socket::UNIX->new(Peer => $server) // return;
    my $pair = { sockets => [ $client, $other ] };

    @{ $self->{pairs} }{ $client, $other } = ($pair, $pair);
    $self->{all}->add($client, $other);
}

sub pass_on {
    my ($self, $socket, $pattern) = @_;

    my $pair = $self->{pairs}{$socket};
    my ($to) = grep { $_ != $socket } @{ $pair->{sockets} };

    if (!sysread $socket, my $bytes, 65536) {
        $self->part($pair);
    } else {
        $pair->{chosen} ||= $bytes =~ $pattern;

        if ($pair->{chosen} && $self->{silent}) {
            $self->{all}->remove($socket, $to);
        } else {
            syswrite $to, $bytes;
        }
    }
}

sub part {
    my ($self, $pair) = @_;

    for my $socket (@{ $pair->{sockets} }) {
        $self->{all}->remove($socket);
        delete $self->{pairs}{$socket};
        close $socket;
    }
}

sub obey {
    my ($self, $wanted) = @_;

    # each has two sockets
    my %chosen = map { $_ => $_ } grep { $_->{chosen} }
                                  values %{ $self->{pairs} };

    for my $pair (values %chosen) {
        $self->{all}->remove(@{ $pair->{sockets} });
        $self->part($pair) if $wanted eq 'sound';
    }

    $self->{silent} = $wanted eq 'silence';

    if (!$self->{silent}) {
        unlink $self->{mark};
        return;
    }

    open my $mark, '>', $self->{mark} or die "$self->{mark}: $!\n";
}


1;
