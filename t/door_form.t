#!/usr/bin/perl

# Why: a token has one spelling.  Whoever reads two into it, or finds one where
# none is, lets others decide what was shown.

use strict;
use warnings;

use Lockbox::Jose qw(b64url_encode json_encode);
use Test::Lockbox;
use Test::Lockbox::Admin;
use Test::Lockbox::Doors;
use Test::Lockbox::Http2;
use Test::Lockbox::Refusal;

my $HUGE = 9 * 1024 * 1024;

my $t = Test::Lockbox->new;

open_doors($t, http => <<'EOF_HTTP', server => 'client_max_body_size 10m;');
    server {
        listen 127.0.0.1:%%PORT_8082%%;
        large_client_header_buffers 2 16m;

        location / {
            lockbox          on;
            lockbox_tenant   acme;
            lockbox_service  mail;
            proxy_pass       http://127.0.0.1:%%PORT_8081%%;
        }
        location /lockbox/ { lockbox_admin on; }
    }
EOF_HTTP

# Options: a token, or a field, made of the good token and its segments.
sub token {
    my ($change) = @_;

    return (token => $change);
}

sub field {
    my ($change) = @_;

    return (field => $change);
}

# With another segment of that number, made of the good one.
sub segment {
    my ($number, $change) = @_;

    return token(sub {
        my (undef, @segments) = @_;

        $segments[$number] = $change->($segments[$number]);

        return join '.', @segments;
    });
}


# Segments

my $text = '{"alg":"none"}';

try_tokens(map { [ "T28 $_->[0]", 'malformed_token', token($_->[1]) ] } (
    [ 'nothing', sub { '' } ],
    [ 'a dot', sub { '.' } ],
    [ 'two dots', sub { '..' } ],
    [ 'three dots', sub { '...' } ],
    [ 'no dot', sub { "$_[1]$_[2]$_[3]" } ],
    [ 'one segment', sub { $_[1] } ],
    [ 'two segments', sub { "$_[1].$_[2]" } ],
    [ 'two segments and a dot', sub { "$_[1].$_[2]." } ],
    [ 'no header', sub { ".$_[2].$_[3]" } ],
    [ 'no payload', sub { "$_[1]..$_[3]" } ],
    [ 'no payload and no signature', sub { "$_[1].." } ],
    [ 'a dot in front', sub { ".$_[0]" } ],
    [ 'a dot behind', sub { "$_[0]." } ],
    [ 'two dots for one', sub { "$_[1]..$_[2].$_[3]" } ],
    [ 'the flattened form in JSON', sub {
          qq({"protected":"$_[1]","payload":"$_[2]","signature":"$_[3]"}) } ],
    [ 'the general form in JSON', sub {
          qq({"payload":"$_[2]","signatures":[{"protected":"$_[1]",)
          . qq("signature":"$_[3]"}]}) } ],
    [ 'an encrypted token', sub { "$_[0].$_[2].$_[3]" } ],
    [ 'JSON for the header', sub { "$text.$_[2].$_[3]" } ],
    [ 'as it is, in quotes', sub { qq("$_[0]") } ],
));
try_tokens([ 'T28 three segments', 'allow', token(sub { $_[0] }) ]);

try_tokens(
    (map { [ "T29 $_->[0]", 'malformed_token', token($_->[1]) ] }
         [ 'a fourth segment', sub { "$_[0].$_[3]" } ],
         [ 'an empty fourth segment', sub { "$_[0].." } ],
         [ 'a TAB within', sub { "$_[1].$_[2].\t$_[3]" } ],
         [ 'a TAB behind', sub { "$_[0]\t" } ],
         [ 'two tokens with a comma', sub { "$_[0],$_[0]" } ],
         [ 'two tokens with a comma and a blank', sub { "$_[0], $_[0]" } ],
         [ 'two tokens with a blank', sub { "$_[0] $_[0]" } ],
         [ 'a comma behind', sub { "$_[0]," } ],
         [ 'a parameter behind', sub { "$_[0], realm=x" } ],
         [ 'a semicolon behind', sub { "$_[0];x=1" } ],
         [ 'a blank in front', sub { " $_[0]" } ],
         [ 'a TAB in front', sub { "\t$_[0]" } ],
         [ '"Bearer " doubled', sub { "Bearer $_[0]" } ]),
    [ 'T29 "Bearer " once', 'allow' ],
);

# Blanks around a field are no part of it in HTTP/1.1 (RFC 9110 section 5.5);
# in HTTP/2 there must be none (RFC 9113 section 8.2.1).
for my $type ('P-256', 'RSA2048') {
    my @behind = (type => $type, field(sub { "Bearer $_[0] " }));

    try_tokens([ "T30 a trailing blank, $type", 'malformed_token', @behind,
                 http => 2 ],
               [ "T30 a trailing blank that is none, $type", 'allow', @behind,
                 http => 1 ]);
}


# Base64url

my @b64 = ('header', 'payload', 'signature');

for my $number (0 .. 2) {
    for my $type ('P-256', 'RSA2048') {
        my $where = "in the $b64[$number], $type";
        my @type = (type => $type);

        try_tokens(
            [ "T31 an asterisk $where", 'malformed_token', @type,
              segment($number, sub { "$_[0]*" }) ],
            [ "T31 an asterisk within $where", 'malformed_token', @type,
              segment($number, sub { $_[0] =~ s/^..\K/*/r }) ],
            [ "T31 \"*~ ,\" $where", 'malformed_token', @type,
              segment($number, sub { $_[0] =~ s/^.{4}\K/*~ ,/r }) ],
            [ "T31 a byte above 127 $where", 'malformed_token', @type,
              segment($number, sub { "\xc3\xa4$_[0]" }) ],
            [ "T34 padding $where", 'malformed_token', @type,
              segment($number, sub { "$_[0]=" }) ],
            [ "T34 two of padding $where", 'malformed_token', @type,
              segment($number, sub { "$_[0]==" }) ],
            [ "T34 padding in front $where", 'malformed_token', @type,
              segment($number, sub { "=$_[0]" }) ],
            [ "a length that cannot be $where", 'malformed_token', @type,
              segment($number, sub { $_[0] . 'A' x ((5 - length $_[0]) % 4) })
            ],
        );
    }
}

# The letters that the two alphabets spell otherwise are put in where they do
# not come by themselves.
my $LETTERS = '"x":"~~~???>>>",';

for my $case ([ T35 => 1, 'payload', 'claims_text' ],
              [ T35 => 0, 'header', 'header_text' ])
{
    my ($id, $number, $where, $option) = @$case;
    my @letters = ($option => sub {
        join '', '{', ' ' x (2 - length($LETTERS) % 3), $LETTERS,
             substr $_[0], 1;
    });

    try_tokens(
        [ "$id + and / in the $where", 'malformed_token', @letters,
          segment($number, sub { swapped($_[0], '-_', '+/') }) ],
        [ "$id + in the $where", 'malformed_token', @letters,
          segment($number, sub { swapped($_[0], '-', '+') }) ],
        [ "$id / in the $where", 'malformed_token', @letters,
          segment($number, sub { swapped($_[0], '_', '/') }) ],
        [ "$id - and _ in the $where", 'allow', @letters ],
    );
}

sub swapped {
    my ($segment, $from, $to) = @_;

    my @from = split //, $from;
    my @to = split //, $to;
    my $swapped = $segment;

    for my $i (0 .. $#from) {
        $swapped =~ s/\Q$from[$i]\E/$to[$i]/g or die "no $from[$i] there\n";
    }

    return $swapped;
}

# Signatures are not made to measure; some claim makes one with such a letter.
for my $type ('P-256', 'RSA2048') {
    for my $letter ([ '-', '+' ], [ '_', '/' ]) {
        for my $door ('gate', 'admin') {
            my ($n, $token) = (0);

            do {
                $token = shown($door, type => $type,
                               claims => { n => $n++ });
            } until $token =~ /\.[^.]*\Q$letter->[0]\E[^.]*\z/;

            my @case = (type => $type, at => $door);
            my $name = "$letter->[1] in the signature, $type";

            try_tokens(
                [ "T32 $name", 'malformed_token', @case,
                  token(sub { $token }),
                  field(sub { "Bearer " . $token =~
                              s{([^.]*)\z}{swapped($1, @$letter)}er }) ],
                [ "T32 $letter->[0] for $name", 'allow', @case,
                  token(sub { $token }) ]);
        }
    }
}

# The bits of the last letter that are no part of a byte; 64 and 256 bytes
# leave four and four.
my $ALPHABET = join '', 'A' .. 'Z', 'a' .. 'z', 0 .. 9, '-', '_';

sub unused_bits {
    my ($segment, $bits) = @_;

    my $value = index $ALPHABET, substr $segment, -1;

    return substr($segment, 0, -1) . substr $ALPHABET, $value | $bits, 1;
}

for my $type ('P-256', 'RSA2048') {
    for my $bit (1, 2, 4, 8) {
        try_tokens([ "T33 unused bit $bit of the signature is set, $type",
                     'malformed_token', type => $type,
                     segment(2, sub { unused_bits($_[0], $bit) }) ]);
    }

    # made to leave two bits, and four
    for my $rest (1, 2) {
        for my $case ([ 0, 'header' ], [ 1, 'claims' ]) {
            my ($number, $where) = @$case;
            my @fit = ("${where}_text" => sub {
                $_[0] . ' ' x (($rest - length $_[0]) % 3);
            });

            try_tokens(
                [ "T33 an unused bit of the $where is set, $type",
                  'malformed_token', type => $type, @fit,
                  segment($number, sub { unused_bits($_[0], 1) }) ],
                [ "T33 no unused bit of the $where is set, $type", 'allow',
                  type => $type, @fit ]);
        }
    }
}


# Sizes

# Claims that make a token of that many bytes.
sub sized {
    my ($door, $size) = @_;

    my $room = $size - length shown($door, first(claims => '"x":""'));
    my ($payload) = map { length }
                    (split /\./, shown($door, first(claims => '"x":""')))[1];
    my $bytes = int(($payload + $room) * 3 / 4) - int($payload * 3 / 4);

    return (at => $door, first(claims => '"x":"' . 'x' x $bytes . '"'));
}

for my $door ('gate', 'admin') {
    # of four lengths in a row one cannot be
    for my $size (8188 .. 8196) {
        my %change = sized($door, $size);

        next if length(shown($door, %change)) != $size;

        try_tokens([ "T53 a token of $size bytes",
                     $size > 8192 ? 'malformed_token' : 'allow', %change ]);
    }
}

for my $size (1023, 1024, 1026, 1027) {
    my @fit = (header_text => sub {
        $_[0] . ' ' x (int($size * 3 / 4) - length $_[0]);
    });

    try_tokens([ "T18 a header of $size bytes",
                 $size > 1024 ? 'malformed_token' : 'allow', @fit ]);
}

for my $number (0 .. 2) {
    my @huge = split /\./, shown('gate');

    $huge[$number] = 'A' x $HUGE;

    my %field = (Authorization => 'Bearer ' . join '.', @huge);

    judged($t->http('GET', $MAIL, port => 8082, headers => \%field),
           'malformed_token', "T53 9 MB of $b64[$number], gate");

    my $admin = $t->http('GET', '/lockbox/v1/whoami', port => 8082,
                         headers => \%field);

    refused($admin, 'malformed_token', "T53 9 MB of $b64[$number], admin");
    recorded([ 'malformed_token' ], 'T53 on record');
}

judged($t->http('GET', $MAIL, port => 8082, token => shown('gate')), 'allow',
       'T53 a token where more would fit');
is($t->http('POST', $REQUESTS, token => token_of('engineer'),
            headers => { 'Content-Type' => 'application/json' },
            body => json_encode({ token => 'A' x $HUGE }))->json->{code},
   'too_large', 'T53 no token is taken from a body');
records();


# The field

try_tokens(
    (map { [ "P25 $_->[0]", 'malformed_token', field($_->[1]) ] }
         [ 'Bearer t, Bearer u', sub { "Bearer $_[0], Bearer $_[0]" } ],
         [ 'Bearer t,Bearer u', sub { "Bearer $_[0],Bearer $_[0]" } ],
         [ 'Bearer t, Basic u', sub { "Bearer $_[0], Basic YTpi" } ],
         [ 'Bearer a, Bearer t', sub { "Bearer a, Bearer $_[0]" } ]),
    [ 'P25 Basic u, Bearer t', 'no_token',
      field(sub { "Basic YTpi, Bearer $_[0]" }) ],
    [ 'P25 Bearer t', 'allow', field(sub { "Bearer $_[0]" }) ],

    (map { [ "field: $_->[0]", 'no_token', field($_->[1]) ] }
         [ 'none', sub { () } ],
         [ 'an empty one', sub { '' } ],
         [ 'Basic', sub { 'Basic YTpi' } ],
         [ 'Digest', sub { qq(Digest username="$_[0]") } ],
         [ 'DPoP', sub { "DPoP $_[0]" } ],
         [ 'another scheme', sub { "Bearers $_[0]" } ],
         [ 'half a scheme', sub { "Bear $_[0]" } ],
         [ 'a TAB behind the scheme', sub { "Bearer\t$_[0]" } ],
         [ 'a colon behind the scheme', sub { "Bearer:$_[0]" } ],
         [ 'no blank', sub { "Bearer$_[0]" } ],
         [ 'no scheme', sub { $_[0] } ]),
    [ 'field: nothing behind the scheme', 'malformed_token',
      field(sub { 'Bearer' }) ],
    (map { my $scheme = $_;
           [ "field: $scheme", 'allow', field(sub { "$scheme $_[0]" }) ] }
         'bearer', 'BEARER', 'bEaReR'),
);

# nginx itself refuses two fields, in all versions that are known; if one did
# not, the gate would.
for my $case (
    [ 'twice the same', sub { ("Bearer $_[0]") x 2 } ],
    [ 'Basic first', sub { ('Basic YTpi', "Bearer $_[0]") } ],
    [ 'an empty one behind', sub { ("Bearer $_[0]", '') } ],
    [ 'an empty one first', sub { ('', "Bearer $_[0]") } ],
) {
    my ($name, $values) = @$case;

    my @request = ('GET', $MAIL, headers => [
        map { [ authorization => $_ ] } $values->(shown('gate')) ]);
    my $h2 = Test::Lockbox::Http2->new($t->port(8443));

    for my $http (1, 2) {
        my $response = $http == 2 ? $h2->ask(@request) : $t->http(@request);

        judged($response, $response->body =~ /<html>/ ? 400 : 'two_tokens',
               "two fields, HTTP/$http: $name");
    }

    $h2->close;
}

all_arrivals_allowed();

done_testing;
