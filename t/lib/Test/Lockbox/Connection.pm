package Test::Lockbox::Connection;

# A stream socket to a server of the test, with a buffer and a deadline for
# everything that is read.

use strict;
use warnings;

use Errno;
use IO::Select;
use IO::Socket::INET;
use IO::Socket::UNIX;

use Test::Lockbox::Process;


# The address is a port of 127.0.0.1 or the path of a Unix socket.
sub new {
    my ($class, $address) = @_;

    my $socket = $address =~ m{^/}
        ? IO::Socket::UNIX->new(Peer => $address)
        : IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                                PeerPort => $address);

    die "connect to $address: $!\n" unless $socket;
    binmode $socket;

    return bless { socket => $socket, buffer => '' }, $class;
}

sub socket {
    my ($self) = @_;

    return $self->{socket};
}

# Sends all bytes; what the peer no longer wants is not an error here.
sub send {
    my ($self, $bytes) = @_;

    local $SIG{PIPE} = 'IGNORE';

    while (length $bytes) {
        my $sent = syswrite $self->{socket}, $bytes;

        if (defined $sent) {
            substr($bytes, 0, $sent) = '';
        } elsif ($!{ECONNRESET} || $!{EPIPE}) {
            return;
        } elsif (!$!{EINTR}) {
            die "send: $!\n";
        }
    }
}

# Reads once, and waits for that.  Returns 0 when nothing more will come.
sub fill {
    my ($self, $seconds) = @_;

    return 0 if $self->{closed};

    IO::Select->new($self->{socket})->can_read(
        $seconds // $Test::Lockbox::Process::Timeout)
        or die "nothing came, after: \"$self->{buffer}\"\n";

    my $read = sysread $self->{socket}, $self->{buffer}, 65536,
                       length $self->{buffer};
    return 1 if $read || (!defined $read && $!{EINTR});

    $self->{reset} = 1 if !defined $read && $!{ECONNRESET};
    $self->{closed} = 1;

    return 0;
}

# Takes what matches off the buffer: everything up to its end.  Returns undef
# if the peer closes before it comes.
sub read_until {
    my ($self, $pattern) = @_;

    until ($self->{buffer} =~ /$pattern/g) {
        return unless $self->fill;
    }

    return $self->take(pos $self->{buffer});
}

# Takes that many bytes, or as many as come before the end.
sub read_bytes {
    my ($self, $count) = @_;

    while (length $self->{buffer} < $count) {
        last unless $self->fill;
    }

    return $self->take($count);
}

# Takes all that comes before the end.
sub read_all {
    my ($self) = @_;

    1 while $self->fill;

    return $self->take(length $self->{buffer});
}

sub take {
    my ($self, $count) = @_;

    my $bytes = substr $self->{buffer}, 0, $count, '';
    pos($self->{buffer}) = undef;

    return $bytes;
}

# Whether something is there that nobody has taken yet.
sub buffered {
    my ($self) = @_;

    return length $self->{buffer};
}

# Whether the peer has closed, and whether it did so with a reset (RST).
sub closed {
    my ($self) = @_;

    return $self->{closed} ? 1 : 0;
}

sub was_reset {
    my ($self) = @_;

    return $self->{reset} ? 1 : 0;
}

sub close {
    my ($self) = @_;

    $self->{socket}->close;
}


1;
