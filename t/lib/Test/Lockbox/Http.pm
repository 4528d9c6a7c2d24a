package Test::Lockbox::Http;

# An HTTP/1.1 client that sends what it is told to, right or wrong, and says
# exactly what came back.

use strict;
use warnings;

use parent qw(Test::Lockbox::Connection);

use JSON::PP ();
use List::Util qw(any pairs);

use Test::Lockbox::Contract;


# The bytes of a request.  Options: headers (hash, or array of [name, value]),
# body, json (a structure to send as the body), token (for Authorization:
# Bearer), keepalive.
sub request_bytes {
    my ($method, $uri, %options) = @_;

    my $body = body_of(%options);
    my @headers = headers_of(%options);
    my $add = sub {
        my ($name, $value) = @_;
        push @headers, [ $name, $value ]
            unless any { lc $_->[0] eq lc $name } @headers;
    };

    $add->('Content-Type', 'application/json') if defined $options{json};
    $add->('Host', 'localhost');
    $add->('Connection', 'close') unless $options{keepalive};
    $add->('Authorization', "Bearer $options{token}")
        if defined $options{token};
    $add->('Content-Length', length $body)
        if defined $body && !any { lc $_->[0] eq 'transfer-encoding' } @headers;

    return join('', "$method $uri HTTP/1.1\r\n",
                map({ "$_->[0]: $_->[1]\r\n" } @headers), "\r\n")
           . ($body // '');
}

sub request {
    my ($self, $method, $uri, %options) = @_;

    $self->asks($method, $uri, %options);
    $self->send(request_bytes($method, $uri, %options));

    return $self;
}

# What the next response is the answer to, for those who send() it.  A body
# that is framed by hand is nobody's business.
sub asks {
    my ($self, $method, $uri, %options) = @_;

    my $framed = any { lc($_->[0]) =~ /^(?:transfer-encoding|content-length)$/ }
                     headers_of(%options);

    $self->{method} = $method;
    push @{ $self->{asked} }, {
        method => $method, uri => $uri,
        sent => $framed ? undef : body_of(%options) // '',
    };
}

sub headers_of {
    my (%options) = @_;

    return ref $options{headers} eq 'HASH'
        ? map { [ $_->key, $_->value ] } pairs %{ $options{headers} }
        : @{ $options{headers} // [] };
}

sub body_of {
    my (%options) = @_;

    return $options{body} unless defined $options{json};
    return JSON::PP->new->utf8->canonical->encode($options{json});
}

# Reads the head of the next response; informational ones are passed over.
# Dies if the connection ends before.
sub head {
    my ($self) = @_;

    my $response;

    do {
        my $text = $self->read_until(qr/\r\n\r\n/)
            // die 'no response' . ($self->was_reset ? ', but a reset' : '')
                   . ": \"$self->{buffer}\"\n";
        $response = Test::Lockbox::Response->parse($text);
    } while ($response->status =~ /^1/ && $response->status != 101);

    $response->{request} = shift @{ $self->{asked} };

    return $response;
}

# Reads the next response whole.
sub response {
    my ($self) = @_;

    my $response = $self->head;
    $self->body($response);
    $response->{reset} = $self->was_reset;
    Test::Lockbox::Contract::answered($response->{request}, $response);

    return $response;
}

sub body {
    my ($self, $response) = @_;

    my $length = $response->header('content-length');
    $response->{complete} = 1;

    if (($self->{method} // '') eq 'HEAD'
        || $response->status =~ /^(?:101|204|304)$/)
    {
        $response->{body} = '';

    } elsif (($response->header('transfer-encoding') // '') =~ /chunked/i) {
        $response->{body} = $self->chunked_body($response);

    } elsif (defined $length) {
        $response->{body} = $self->read_bytes($length);
        $response->{complete} = length $response->{body} == $length;

    } else {
        $response->{body} = $self->read_all;
        $response->{complete} = !$self->was_reset;
    }
}

sub chunked_body {
    my ($self, $response) = @_;

    my $body = '';

    while (defined(my $line = $self->read_until(qr/\r\n/))) {
        my $size = hex $line =~ s/[;\r].*//sr;
        my $chunk = $self->read_bytes($size + 2);

        $body .= substr $chunk, 0, $size;
        return $body if $size == 0 && $chunk eq "\r\n";
        last if length $chunk < $size + 2;
    }

    $response->{complete} = 0;

    return $body;
}


package Test::Lockbox::Response;

use strict;
use warnings;

sub parse {
    my ($class, $text) = @_;

    my ($line, @fields) = split /\r\n/, $text;
    my ($status, $reason) = $line =~ m{^HTTP/1\.[01] (\d{3})(?: (.*))?$}
        or die "no HTTP response: \"$text\"\n";
    my %headers;

    for my $field (@fields) {
        my ($name, $value) = $field =~ /^([^:]+):[ \t]*(.*?)[ \t]*$/
            or die "no header field: \"$field\"\n";
        push @{ $headers{ lc $name } }, $value;
    }

    $_ = @$_ == 1 ? $_->[0] : $_ for values %headers;

    return bless {
        status => $status, reason => $reason, headers => \%headers,
        head => $text, body => '',
    }, $class;
}

sub status   { return $_[0]{status} }
sub reason   { return $_[0]{reason} }

# By lower-case name; an array of values where the field was repeated.
sub headers  { return $_[0]{headers} }

# Status line and header fields as they came.
sub head     { return $_[0]{head} }
sub body     { return $_[0]{body} }

# Whether the body came to the end that its framing announced, and whether
# the connection ended with a reset.
sub complete { return $_[0]{complete} ? 1 : 0 }
sub reset    { return $_[0]{reset} ? 1 : 0 }

# One field; repeated ones are joined by ", ".
sub header {
    my ($self, $name) = @_;

    my $value = $self->{headers}{ lc $name };

    return ref $value ? join ', ', @$value : $value;
}

sub json {
    my ($self) = @_;

    return JSON::PP->new->utf8->decode($self->{body});
}


1;
