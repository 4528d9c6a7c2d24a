package Test::Lockbox::Http2;

# A client of HTTP/2 over TCP without TLS, "with prior knowledge" (RFC 9113,
# 7541).  It sends what it is told to, right or wrong, on as many streams as it
# likes, and says exactly what came back on each.
#
# Requests and their bodies are small: each is a frame, and what the server
# would take at once is not looked at.

use strict;
use warnings;

use parent qw(Test::Lockbox::Connection);

use JSON::PP ();
use Socket qw(IPPROTO_TCP TCP_NODELAY);

use Test::Lockbox::Http;

use constant {
    DATA => 0, HEADERS => 1, RST_STREAM => 3, SETTINGS => 4, PING => 6,
    GOAWAY => 7, WINDOW_UPDATE => 8, CONTINUATION => 9,
    END_STREAM => 1, ACK => 1, END_HEADERS => 4, PADDED => 8, PRIORITY => 0x20,
    NO_ERROR => 0, PROTOCOL_ERROR => 1, CANCEL => 8,
};

my $PREFACE = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

# Appendix A of RFC 7541.
my @STATIC = map { [ split /=/, $_, 2 ] } split ' ', <<'EOF_STATIC';
:authority= :method=GET :method=POST :path=/ :path=/index.html :scheme=http
:scheme=https :status=200 :status=204 :status=206 :status=304 :status=400
:status=404 :status=500 accept-charset= accept-encoding=gzip,deflate
accept-language= accept-ranges= accept= access-control-allow-origin= age=
allow= authorization= cache-control= content-disposition= content-encoding=
content-language= content-length= content-location= content-range=
content-type= cookie= date= etag= expect= expires= from= host= if-match=
if-modified-since= if-none-match= if-range= if-unmodified-since=
last-modified= link= location= max-forwards= proxy-authenticate=
proxy-authorization= range= referer= refresh= retry-after= server=
set-cookie= strict-transport-security= transfer-encoding= user-agent= vary=
via= www-authenticate=
EOF_STATIC

$_->[1] =~ s/,/, / for @STATIC;

# Appendix B, as far as it goes for text: the characters with a code of so many
# bits.  Codes ascend with their lengths, and within a length with the
# characters.
my %HUFFMAN = decoder(
    5  => '012aceiost',
    6  => ' %-./3456789=A_bdfghlmnpru',
    7  => ':BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz',
    8  => '&*,;XZ',
    10 => '!"()?',
    11 => "'+|",
    12 => '#>',
    13 => "\0\$@[]~",
    14 => '^}',
    15 => '<`{',
    19 => '\\',
);

my %CODES = reverse %HUFFMAN;

my %ON_FRAME = (
    DATA, \&on_data, HEADERS, \&on_headers, CONTINUATION, \&on_continuation,
    RST_STREAM, \&on_reset, SETTINGS, \&on_settings, PING, \&on_ping,
    GOAWAY, \&on_goaway,
);


# Requests

# Connects to that port of 127.0.0.1.  With huffman => 1 texts are sent
# compressed.
sub new {
    my ($class, $port, %options) = @_;

    my $self = $class->SUPER::new($port);

    # small frames would wait for each other
    setsockopt $self->socket, IPPROTO_TCP, TCP_NODELAY, 1
        or die "TCP_NODELAY: $!\n";

    $self->{table} = [];
    $self->{table_max} = 4096;
    $self->{streams} = {};
    $self->{next} = 1;
    $self->{huffman} = $options{huffman};
    $self->send($PREFACE);
    $self->frame(SETTINGS, 0, 0, '');

    return $self;
}

# Begins a request and returns the number of its stream.  Options: headers
# (hash, or array of [name, value]), body, json, token, as for HTTP/1; pseudo
# (hash: what to say instead, undef for nothing), and open => 1: more of the
# body comes with data().
sub request {
    my ($self, $method, $path, %options) = @_;

    my %pseudo = (
        ':method' => $method, ':scheme' => 'http', ':path' => $path,
        ':authority' => 'localhost', %{ $options{pseudo} // {} },
    );
    my @headers = map { [ $_, $pseudo{$_} ] }
                  grep { defined $pseudo{$_} } sort keys %pseudo;
    my $more = $options{headers} // {};
    my $body = $options{body};

    push @headers, ref $more eq 'HASH'
        ? map({ [ $_, $more->{$_} ] } sort keys %$more) : @$more;
    push @headers, [ 'authorization', "Bearer $options{token}" ]
        if defined $options{token};

    if (defined $options{json}) {
        $body = JSON::PP->new->utf8->canonical->encode($options{json});
        push @headers, [ 'content-type', 'application/json' ];
    }

    push @headers, [ 'content-length', length $body ]
        if defined $body && !$options{open};

    my $last = !defined $body && !$options{open};
    my $stream = $self->headers($last ? END_STREAM : 0, @headers);

    $self->{streams}{$stream}{request} = {
        method => $pseudo{':method'} // '', uri => $pseudo{':path'} // '',
        sent => $options{open} ? undef : $body // '',
    };
    $self->data($stream, $body, $options{open} ? 0 : END_STREAM)
        if defined $body;

    return $stream;
}

# Opens a stream with those fields, [name, value] each, and returns its number.
sub headers {
    my ($self, $flags, @headers) = @_;

    my $stream = $self->{next};

    $self->{next} += 2;
    $self->{streams}{$stream} = bless {
        headers => {}, body => '', complete => 0, done => 0,
    }, 'Test::Lockbox::Http2::Response';
    $self->frame(HEADERS, $flags | END_HEADERS, $stream,
                 join '', map { $self->literal(@$_) } @headers);

    return $stream;
}

sub data {
    my ($self, $stream, $bytes, $flags) = @_;

    $self->frame(DATA, $flags // END_STREAM, $stream, $bytes);
}

# Resets the stream.
sub cancel {
    my ($self, $stream, $code) = @_;

    $self->frame(RST_STREAM, 0, $stream, pack 'N', $code // CANCEL);
}

sub goaway {
    my ($self) = @_;

    $self->frame(GOAWAY, 0, 0, pack 'NN', 0, NO_ERROR);
}

sub frame {
    my ($self, $type, $flags, $stream, $payload) = @_;

    $self->send(substr(pack('NCCN', length $payload, $type, $flags, $stream),
                       1) . $payload);
}

# A literal field without indexing; a name is always spelt out.
sub literal {
    my ($self, $name, $value) = @_;

    return "\0" . join '', map { $self->text($_) } $name, $value;
}

# A text that has a character without a code here is not compressed.
sub text {
    my ($self, $text) = @_;

    my @codes = $self->{huffman} ? map { $CODES{$_} } split //, $text : undef;

    return integer(length $text, 7) . $text if grep { !defined } @codes;

    my $bits = join '', @codes;
    my $bytes = pack 'B*', $bits . '1' x (-length($bits) % 8);
    my $length = integer(length $bytes, 7);

    return ("\x80" | $length) . $bytes;
}

sub integer {
    my ($value, $bits) = @_;

    my $max = 2 ** $bits - 1;
    return chr $value if $value < $max;

    my $bytes = chr $max;

    for ($value -= $max; $value >= 128; $value >>= 7) {
        $bytes .= chr(128 | $value & 127);
    }

    return $bytes . chr $value;
}


# Responses

# The response of a stream once it has ended, in whatever way; see
# Test::Lockbox::Response, and error() for the code of a reset.
sub response {
    my ($self, $stream) = @_;

    my $response = $self->{streams}{$stream};

    until ($response->{done}) {
        last unless $self->read_frame;
    }

    $response->{done} = 1;
    Test::Lockbox::Contract::answered($response->{request}, $response);

    return $response;
}

# As response(), for a request of its own.
sub ask {
    my ($self, @request) = @_;

    return $self->response($self->request(@request));
}

# Returns when the server has seen all that was sent so far.
sub sync {
    my ($self) = @_;

    my $seen = $self->{pongs} // 0;

    $self->frame(PING, 0, 0, 'lockbox!');

    until (($self->{pongs} // 0) > $seen) {
        $self->read_frame or die "the connection is closed\n";
    }
}

# The error code of a GOAWAY, if one has come.
sub gone {
    my ($self) = @_;

    return $self->{goaway};
}

# Reads a frame; returns 0 when no more will come.
sub read_frame {
    my ($self) = @_;

    my $head = $self->read_bytes(9);
    return 0 if length $head < 9;

    my ($length, $type, $flags, $stream) = unpack 'NCCN', "\0$head";
    my $payload = $self->read_bytes($length);
    return 0 if length $payload < $length;

    my $on_frame = $ON_FRAME{$type};
    $on_frame->($self, $flags, $stream & 0x7fffffff, $payload) if $on_frame;

    return 1;
}

sub on_data {
    my ($self, $flags, $stream, $payload) = @_;

    my $response = $self->{streams}{$stream};

    $response->{body} .= unpadded($flags, $payload);
    $response->{complete} = $response->{done} = 1 if $flags & END_STREAM;

    return if $payload eq '';

    for my $window (0, $response->{done} ? () : $stream) {
        $self->frame(WINDOW_UPDATE, 0, $window, pack 'N', length $payload);
    }
}

sub on_headers {
    my ($self, $flags, $stream, $payload) = @_;

    my $block = unpadded($flags, $payload);

    substr($block, 0, 5) = '' if $flags & PRIORITY;
    $self->{block} = { stream => $stream, bytes => $block,
                       last => $flags & END_STREAM };
    $self->end_headers if $flags & END_HEADERS;
}

sub on_continuation {
    my ($self, $flags, $stream, $payload) = @_;

    $self->{block}{bytes} .= $payload;
    $self->end_headers if $flags & END_HEADERS;
}

sub end_headers {
    my ($self) = @_;

    my $block = delete $self->{block};
    my $response = $self->{streams}{ $block->{stream} };
    my $headers = $response->{headers} = {};

    for ($self->decoded($block->{bytes})) {
        my ($name, $value) = @$_;
        push @{ $headers->{$name} }, $value;
    }

    $response->{status} = delete($headers->{':status'})->[0];
    $_ = @$_ == 1 ? $_->[0] : $_ for values %$headers;
    $response->{complete} = $response->{done} = 1 if $block->{last};
}

sub on_reset {
    my ($self, $flags, $stream, $payload) = @_;

    my $response = $self->{streams}{$stream};

    # after a whole response it only ends the request
    $response->{error} = unpack 'N', $payload;
    $response->{reset} = !$response->{complete};
    $response->{done} = 1;
}

sub on_settings {
    my ($self, $flags, $stream, $payload) = @_;

    $self->frame(SETTINGS, ACK, 0, '') unless $flags & ACK;
}

sub on_ping {
    my ($self, $flags, $stream, $payload) = @_;

    return $self->{pongs}++ if $flags & ACK;

    $self->frame(PING, ACK, 0, $payload);
}

sub on_goaway {
    my ($self, $flags, $stream, $payload) = @_;

    $self->{goaway} = unpack 'x4 N', $payload;
}

sub unpadded {
    my ($flags, $payload) = @_;

    return $payload unless $flags & PADDED;

    my $padding = ord $payload;

    return substr $payload, 1, length($payload) - 1 - $padding;
}


# Header compression

# The fields of a block, [name, value] each.
sub decoded {
    my ($self, $block) = @_;

    my @fields;

    while ($block ne '') {
        my $first = ord $block;

        if ($first & 0x80) {
            push @fields, $self->entry(take_integer(\$block, 7));

        } elsif ($first & 0x40) {
            push @fields, $self->take_literal(\$block, 6);
            unshift @{ $self->{table} }, $fields[-1];
            $self->evict;

        } elsif ($first & 0x20) {
            $self->{table_max} = take_integer(\$block, 5);
            $self->evict;

        } else {
            push @fields, $self->take_literal(\$block, 4);
        }
    }

    return @fields;
}

sub entry {
    my ($self, $index) = @_;

    my $entry = $index <= @STATIC ? $STATIC[$index - 1]
                                  : $self->{table}[$index - @STATIC - 1];

    return $entry // die "no header field $index\n";
}

sub evict {
    my ($self) = @_;

    my $table = $self->{table};
    my $size = 0;

    $size += 32 + length($_->[0]) + length $_->[1] for @$table;

    while ($size > $self->{table_max}) {
        my ($name, $value) = @{ pop @$table };
        $size -= 32 + length($name) + length $value;
    }
}

sub take_literal {
    my ($self, $block, $bits) = @_;

    my $index = take_integer($block, $bits);
    my $name = $index ? $self->entry($index)->[0] : take_text($block);

    return [ $name, take_text($block) ];
}

sub take_integer {
    my ($block, $bits) = @_;

    my $max = 2 ** $bits - 1;
    my $value = ord(substr $$block, 0, 1, '') & $max;
    return $value if $value < $max;

    for (my $shift = 0, my $byte = 128; $byte & 128; $shift += 7) {
        $byte = ord substr $$block, 0, 1, '';
        $value += ($byte & 127) << $shift;
    }

    return $value;
}

sub take_text {
    my ($block) = @_;

    my $huffman = ord($$block) & 0x80;
    my $length = take_integer($block, 7);
    my $bytes = substr $$block, 0, $length, '';

    return $huffman ? huffman($bytes) : $bytes;
}

sub decoder {
    my (@lengths) = @_;

    my (%decoder, $last);
    my $code = 0;

    while (my ($bits, $characters) = splice @lengths, 0, 2) {
        $code <<= $bits - ($last // $bits);
        $last = $bits;
        $decoder{ sprintf '%0*b', $bits, $code++ } = $_
            for split //, $characters;
    }

    return %decoder;
}

# What is left at the end is padding.
sub huffman {
    my ($bytes) = @_;

    my ($text, $code) = ('', '');

    for my $bit (split //, unpack 'B*', $bytes) {
        my $character = $HUFFMAN{ $code .= $bit } // next;
        $text .= $character;
        $code = '';
    }

    $code =~ /^1{0,7}\z/ or die "no Huffman code for a text: $code\n";

    return $text;
}


package Test::Lockbox::Http2::Response;

use strict;
use warnings;

our @ISA = qw(Test::Lockbox::Response);

# The code of the RST_STREAM that ended the stream, if one did; 0 (no error)
# behind a whole response.
sub error { return $_[0]{error} }


1;
