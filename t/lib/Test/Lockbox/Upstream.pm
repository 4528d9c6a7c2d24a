package Test::Lockbox::Upstream;

# The tenant API behind the gate: answers each request and records it, and
# each connection, before the answer leaves.

use strict;
use warnings;

use Fcntl qw(O_APPEND O_CREAT O_WRONLY);
use IO::Socket::INET;
use JSON::PP ();
use POSIX ();

my $JSON = JSON::PP->new->utf8->canonical;


# A listening socket, made before the fork so that nobody waits for it.
sub listener {
    my ($port) = @_;

    return IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 128,
                                 LocalPort => $port, ReuseAddr => 1)
        // die "listen on $port: $!\n";
}

# Serves forever, each connection in a process of its own.  The handler gets
# the request and the socket, and returns [status, {headers}, body], or undef
# if it has answered itself.
sub serve {
    my ($listener, $record, $handler) = @_;

    $SIG{CHLD} = 'IGNORE';
    $handler //= \&echo;

    while (1) {
        my $client = $listener->accept or next;
        append("$record.connections", "1\n");

        my $pid = fork // die "fork: $!\n";

        if ($pid == 0) {
            close $listener;
            eval { answer($client, $record, $handler) };
            print STDERR $@;
            POSIX::_exit(0);
        }

        close $client;
    }
}

sub answer {
    my ($client, $record, $handler) = @_;

    my $request = read_request($client) or return;
    append($record, $JSON->encode($request) . "\n");

    my $answer = $handler->($request, $client) or return;
    my ($status, $headers, $body) = @$answer;

    print {$client} "HTTP/1.1 $status Answer\r\n",
        map({ "$_: $headers->{$_}\r\n" } sort keys %$headers),
        'Content-Length: ', length $body, "\r\nConnection: close\r\n\r\n",
        $request->{method} eq 'HEAD' ? '' : $body;
    $client->flush;
}

# What the upstream was asked, as JSON.
sub echo {
    my ($request) = @_;

    return [ 200, { 'Content-Type' => 'application/json' },
             $JSON->encode($request) ];
}

sub read_request {
    my ($client) = @_;

    my $line = <$client> // return;
    my ($method, $uri) = $line =~ m{^(\S+) (.*) HTTP/1\.[01]\r\n$}
        or die "no request: \"$line\"\n";
    my %headers;

    while (defined($line = <$client>) && $line ne "\r\n") {
        my ($name, $value) = $line =~ /^([^:]+): *(.*)\r\n$/
            or die "no header field: \"$line\"\n";
        $name = lc $name;
        $headers{$name} = exists $headers{$name} ? "$headers{$name}, $value"
                                                 : $value;
    }

    return { method => $method, uri => $uri, headers => \%headers,
             body => read_body($client, \%headers) };
}

sub read_body {
    my ($client, $headers) = @_;

    my $body = '';

    if (($headers->{'transfer-encoding'} // '') =~ /chunked/) {
        while (defined(my $line = <$client>)) {
            my $size = hex $line =~ s/[;\r].*//sr;
            read $client, $body, $size, length $body;
            <$client>;
            last if $size == 0;
        }

    } elsif ($headers->{'content-length'}) {
        read $client, $body, $headers->{'content-length'};
    }

    return $body;
}

# One write, so that processes do not mix their lines.
sub append {
    my ($file, $bytes) = @_;

    sysopen my $fh, $file, O_WRONLY | O_CREAT | O_APPEND
        or die "$file: $!\n";
    syswrite $fh, $bytes;
}


1;
