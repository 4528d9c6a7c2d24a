package Test::Lockbox::Redis;

# A small client for Redis (RESP2).  Texts are bytes.

use strict;
use warnings;

use parent qw(Test::Lockbox::Connection);


# Sends a command and returns the reply: a scalar, undef for nil, an array for
# arrays.  Dies with Redis's message on an error.
sub command {
    my ($self, @argv) = @_;

    $self->send_command(@argv);
    my $reply = $self->reply;
    die "Redis: $$reply, to: @argv\n"
        if ref $reply eq 'Test::Lockbox::Redis::Error';

    return $reply;
}

sub send_command {
    my ($self, @argv) = @_;

    utf8::encode($_) for grep { utf8::is_utf8($_) } @argv;

    $self->send(join '', '*' . @argv . "\r\n",
                map { '$' . length($_) . "\r\n$_\r\n" } @argv);
}

# Reads one reply; an error comes as a Test::Lockbox::Redis::Error, which is a
# reference to the message.
sub reply {
    my ($self) = @_;

    my $line = $self->read_until(qr/\r\n/) // die "Redis closed\n";
    my ($type, $rest) = $line =~ /^([-+:\$*])(.*)\r\n\z/s
        or die "no RESP2: \"$line\"\n";

    return $rest if $type eq '+' || $type eq ':';
    return bless \$rest, 'Test::Lockbox::Redis::Error' if $type eq '-';
    return if $rest < 0;
    return [ map { scalar $self->reply } 1 .. $rest ] if $type eq '*';

    return substr $self->read_bytes($rest + 2), 0, $rest;
}


1;
