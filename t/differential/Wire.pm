package Wire;

# Many requests in a short time: a tenant API that writes down the very target
# of each, and clients that do not wait for one answer before the next.

use strict;
use warnings;

use Fcntl qw(O_APPEND O_CREAT O_WRONLY SEEK_SET);
use IO::Select;
use List::Util qw(min);

use Test::Lockbox::Http;
use Test::Lockbox::Http2;
use Test::Lockbox::Upstream;

my $ANSWER = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

# so many are on the way at once
my $WINDOW = 32;


# The tenant API

# What nginx must have in an http block for it, and in a location.
our $UPSTREAM = <<'EOF_UPSTREAM';
upstream recorder {
    server     127.0.0.1:%%PORT_8081%%;
    keepalive  8;
}
EOF_UPSTREAM

our $PROXY = <<'EOF_PROXY';
proxy_pass           http://recorder;
proxy_http_version   1.1;
proxy_next_upstream  off;
proxy_set_header     Connection "";
proxy_set_header     X-Request $lockbox_event_id;
EOF_PROXY

# Starts it on port 8081.  It writes a line for each request: what X-Case and
# X-Request say, or "-", and the target in hexadecimal.
sub upstream {
    my ($t) = @_;

    my $listener = Test::Lockbox::Upstream::listener($t->port(8081));
    my $file = $t->testdir . '/reached';

    $t->write_file('reached', '');
    $t->start_process('recorder', code => sub { serve($listener, $file) });
}

sub serve {
    my ($listener, $file) = @_;

    sysopen my $record, $file, O_WRONLY | O_CREAT | O_APPEND
        or die "$file: $!\n";

    local $SIG{PIPE} = 'IGNORE';
    my $select = IO::Select->new($listener);
    my %text;

    while (1) {
        for my $socket ($select->can_read) {
            if ($socket == $listener) {
                my $client = $listener->accept or next;
                $text{$client} = '';
                $select->add($client);
                next;
            }

            my $read = sysread $socket, $text{$socket}, 65536,
                               length $text{$socket};

            if (!$read) {
                $select->remove($socket);
                delete $text{$socket};
                close $socket;
                next;
            }

            while ($text{$socket} =~ s/\A(.*?\r\n)\r\n//s) {
                write_down($record, $1);
                syswrite $socket, $ANSWER;
            }
        }
    }
}

sub write_down {
    my ($record, $head) = @_;

    my ($target) = $head =~ m{\A[A-Z_-]+ (.*?) HTTP/1\.1\r\n}s;
    my ($case) = $head =~ /^X-Case: (\S+)\r$/mi;
    my ($request) = $head =~ /^X-Request: (\S+)\r$/mi;

    syswrite $record, join(' ', $case // '-', $request // '-',
                           unpack 'H*', $target // $head) . "\n"
        or die "recorder: $!\n";
}


# Clients: each calls take(index, response) for all of the requests, with
# undef for a response that did not come.

# Over connections that are kept as long as nginx keeps them.  The requests
# are bytes.
sub pipelined {
    my ($port, $requests, $take) = @_;

    my $next = 0;

    while ($next < @$requests) {
        my $connection = Test::Lockbox::Http->new($port);
        my $first = $next;

        while ($next < @$requests) {
            my $last = min($next + $WINDOW, scalar @$requests);
            $connection->send(join '', @$requests[$next .. $last - 1]);

            while ($next < $last) {
                my $response = eval { $connection->response } // last;
                $take->($next++, $response);
            }

            last if $next < $last;
        }

        $take->($next++, undef) if $next == $first;
        $connection->close;
    }
}

# Each over a connection of its own: for bytes that may end one.  What is no
# response of HTTP/1.1 is its body.
sub alone {
    my ($port, $requests, $take) = @_;

    for my $index (0 .. $#$requests) {
        my $connection = Test::Lockbox::Http->new($port);
        $connection->send($requests->[$index]);

        my $response = eval { $connection->response };

        if (!$response) {
            my $body = $connection->read_all;
            $response = Test::Lockbox::Response->parse(
                "HTTP/1.1 000 None\r\n");
            $response->{body} = $body;
        }

        $take->($index, $response);
        $connection->close;
    }
}

# Over HTTP/2, so many streams a connection, every other connection with
# compressed texts.  The requests are arrays of what
# Test::Lockbox::Http2::request() takes.  The response of a stream that was
# reset, or ended with an error of the connection, has no status.
sub multiplexed {
    my ($port, $streams, $requests, $take) = @_;

    for (my $first = 0; $first < @$requests; $first += $streams) {
        my $last = min($first + $streams, scalar @$requests) - 1;
        my $connection = Test::Lockbox::Http2->new(
            $port, huffman => $first / $streams % 2);
        my @streams = map { $connection->request(@$_) }
                          @$requests[$first .. $last];

        for my $index ($first .. $last) {
            my $response = $connection->response($streams[$index - $first]);
            my $came = defined($response->status // $response->error)
                || $streams == 1 && $connection->gone;
            $take->($index, $came ? $response : undef);
        }

        $connection->close;
    }
}


# Files that others write to

# The lines since the last call for that file.
my %Read;

sub new_lines {
    my ($t, $name) = @_;

    my $file = $t->testdir . "/$name";

    open my $fh, '<:raw', $file or die "$file: $!\n";
    seek $fh, $Read{$file} // 0, SEEK_SET;
    my @lines = <$fh>;
    $Read{$file} = tell $fh;

    return @lines;
}


# The rest

# What a response says: "allow", the word of a refusal, or "nginx".
sub word {
    my ($response) = @_;

    return $1 if $response->body =~ /"code":"([a-z_]+)"/;

    return ($response->status // 0) == 200 ? 'allow' : 'nginx';
}

# Runs a program beside this file with Debian's Python, which has Debian's
# packages; output goes to the file if one is named.  Returns the exit status
# and the output.
sub python {
    my ($output, $program, @arguments) = @_;

    my $dir = __FILE__ =~ s{[^/]*\z}{}r;
    my @command = ('/usr/bin/python3', '-B', "$dir$program", @arguments);

    open my $pipe, '-|', @command or die "$command[0]: $!\n";
    open my $fh, '>', $output // \my $text or die "$output: $!\n";
    print {$fh} $_ while <$pipe>;
    close $fh or die "$output: $!\n";

    local $?;
    close $pipe;

    return ($? >> 8 || $?, $text);
}


1;
