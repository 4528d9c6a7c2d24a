package Test::Lockbox::Events;

# Events as clients get them: pages, and streams that stay open.

use strict;
use warnings;

use Exporter qw(import);
use JSON::PP ();

use Test::Lockbox::Admin;

our @EXPORT = qw($EVENTS page happened listen_as ending heard);

our $EVENTS = '/lockbox/v1/events';

my $JSON = JSON::PP->new->utf8;


# A page of events.
sub page {
    my ($who, %query) = @_;

    my $query = join '&', map { "$_=$query{$_}" } sort keys %query;
    my $response = ask($who, 'GET', $query ne '' ? "$EVENTS?$query" : $EVENTS);

    $response->status == 200 or die $response->body;

    return $response->json;
}

# All that has happened as far as somebody sees: "approved acme", oldest
# first.
sub happened {
    my ($who, %query) = @_;

    my $page = page($who, limit => 100, %query);

    return [ map { "$_->{data}{event} $_->{data}{tenant}" }
                 @{ $page->{events} } ];
}

# Opens a stream and reads its head; the options are those of http(), and
# "query".
sub listen_as {
    my ($who, %options) = @_;

    my $headers = delete $options{headers} // {};
    $headers = { Accept => 'text/event-stream', %$headers }
        if ref $headers eq 'HASH';
    my $connection = $Test::Lockbox::Admin::World->http_start('GET',
        $EVENTS . (defined $options{query} ? "?$options{query}" : ''),
        token => token_of($who), keepalive => 1, %options,
        headers => $headers);
    my $head = $connection->head;

    $connection->body($head) if $head->status != 200;

    return bless { connection => $connection, head => $head, text => '' },
        'Test::Lockbox::Events::Stream';
}

# A token of a manager that ends soon, but not before that could open a stream
# with it, and what it has opened.
sub ending {
    my ($open) = @_;

    for my $life (3, 6, 12, 24) {
        my $token = $Test::Lockbox::Admin::World->identity('manager',
                                                           life => $life);
        my $stream = $open->($token);

        return ($token, $stream) if $stream;
    }

    die "no stream can be opened\n";
}

# The events of a stream until that many have come, in short.
sub heard {
    my ($stream, $count) = @_;

    return [ map { "$_->{json}{data}{event} $_->{json}{data}{tenant}" }
             map { $stream->event } 1 .. $count ];
}


package Test::Lockbox::Events::Stream;

sub head       { return $_[0]{head} }
sub connection { return $_[0]{connection} }

# The next block with data: id, event, data, and json, the data decoded.
# undef when the stream ends before.  Comments must not keep the test waiting.
sub event {
    my ($self) = @_;

    my $deadline = time + $Test::Lockbox::Process::Timeout;

    while (defined(my $block = $self->block)) {
        return { %$block, json => $JSON->decode($block->{data}) }
            if exists $block->{data};
        die "no event came\n" if time > $deadline;
    }

    return;
}

# The next block, as a hash of its fields; a comment is the field "".
sub block {
    my ($self) = @_;

    my $end;

    while (($end = index $self->{text}, "\n\n") < 0) {
        $self->chunk or return;
    }

    my @lines = split /\n/, substr $self->{text}, 0, $end + 2, '';

    return { map { /^(.*?): ?(.*)$/ } @lines };
}

# Whether another chunk came; at the end it is known whether it was a whole
# response.
sub chunk {
    my ($self) = @_;

    my $connection = $self->{connection};
    my $line = $connection->read_until(qr/\r\n/) // return 0;
    my $size = hex $line =~ s/\r\n//r;
    my $chunk = $connection->read_bytes($size + 2);

    $self->{complete} = $size == 0 && $chunk eq "\r\n";
    $self->{text} .= substr $chunk, 0, $size;

    return $size != 0 && length $chunk == $size + 2;
}

# Reads to the end, and tells whether that was the end of a whole response.
sub ended {
    my ($self) = @_;

    1 while $self->chunk;

    return $self->{complete} ? 1 : 0;
}

sub close {
    my ($self) = @_;

    $self->{connection}->close;
}


1;
