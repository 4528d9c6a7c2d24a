package Test::Lockbox::Doors;

# The two doors at which a token is shown: a grant at the gate, an identity
# token at the admin API; and each over HTTP/1.1 and over HTTP/2.  Tables of
# tokens that differ in one thing from one that passes go through both.

use strict;
use warnings;

use Exporter qw(import);
use Test::More ();

use Lockbox::Jose qw(decode json_encode key sign);
use Test::Lockbox::Admin;
use Test::Lockbox::Conf;
use Test::Lockbox::Http2;
use Test::Lockbox::Refusal;

our @EXPORT = qw(open_doors try_tokens shown spelt first $GRANT_ID);

my $WHOAMI = '/lockbox/v1/whoami';
my $LIFE = 3000;

# header blocks of more than a frame are for HTTP/1.1 only
my $FRAME = 15000;

# The request that all grants here are for.
our $GRANT_ID = Test::Lockbox::Conf::uuid7();

my ($World, $H2, %Usual, $Take_turns);


# Starts everything; the parts are those of conf().  Beside the key that signs,
# grants of keys of the types given are accepted, and always those of an RSA
# one.  With take_turns => 1 the versions of HTTP take turns: for tables of what
# does not depend on them.  Returns the parts, for change_conf().
sub open_doors {
    my ($t, %parts) = @_;

    $Take_turns = delete $parts{take_turns};

    my @accepted = map { accepted($_) } 'RSA2048',
                       @{ delete $parts{accept} // [] };

    $t->write_file("$_->{type}.pub.pem", $_->{public_pem}) for @accepted;
    $parts{directives}{lockbox_accept_key} =
        [ map { "%%TESTDIR%%/$_->{type}.pub.pem" } @accepted ];
    $parts{server} .= "listen 127.0.0.1:%%PORT_8443%% http2;\n"
                      . 'large_client_header_buffers 4 256k;';

    $World = $t;
    begin($t, %parts);
    $t->grant(id => $GRANT_ID, life => $LIFE);

    return %parts;
}

sub accepted {
    my ($type) = @_;

    return key($type, 'accepted');
}

# Each case is a name, what is said, and what is different about the token.
# What is said is a word or "allow", or { gate => ..., admin => ... }.
# Options:
#
#   header, claims            members; undef leaves one out; claims may be a
#                             function that returns them
#   header_text, claims_text  change the JSON
#   key, alg                  who signs and how, whatever the header says
#   token                     changes what was signed
#   field                     makes the Authorization field of the token
#   type                      the type of the key that usually signs
#   at                        the only door: "gate" or "admin"
#   http                      the only version: 1 or 2
sub try_tokens {
    my (@cases) = @_;

    # where a failure is said to be: at the table
    local $Test::Builder::Level = $Test::Builder::Level + 2;

    # one connection serves as many requests as nginx allows it
    $H2 = Test::Lockbox::Http2->new($World->port(8443));

    for my $i (0 .. $#cases) {
        my ($name, $said, %change) = @{ $cases[$i] };
        my @http = $change{http} // ($Take_turns ? 1 + $i % 2 : (1, 2));

        for my $door ($change{at} // qw(gate admin)) {
            my $token = shown($door, %change);

            for my $http (length $token > $FRAME ? 1 : @http) {
                try_token($door, $http, ref $said ? $said->{$door} : $said,
                          printable("$name, $door, HTTP/$http"),
                          $change{field}, $token);
            }
        }
    }

    $H2->close;
}

sub printable {
    my ($name) = @_;

    return $name =~ s/^ +//r =~ s/([^ -~])/sprintf '\\x{%x}', ord $1/ger;
}

sub try_token {
    my ($door, $http, $said, $name, $field, $token) = @_;

    my @value = $field ? $field->($token) : "Bearer $token";
    my $response = ask_door($door, $http, map { [ authorization => $_ ] }
                                              @value);

    return judged($response, $said, $name) if $door eq 'gate';

    if ($said eq 'allow') {
        Test::More::is($response->status, 200, $name);
    } else {
        refused($response, $said, $name);
    }

    recorded([ $said eq 'allow' ? () : $said ], "$name: on record");
    Test::More::is(arrivals(), 0, "$name: nothing arrives");
}

sub ask_door {
    my ($door, $http, @headers) = @_;

    my @request = ('GET', $door eq 'gate' ? $MAIL : $WHOAMI,
                   headers => \@headers);

    return $http == 2 ? $H2->ask(@request) : $World->http(@request);
}

# The token of a case.
sub shown {
    my ($door, %change) = @_;

    my $usual = usual($door, $change{type} // 'P-256');
    my $claims = $change{claims};

    $claims = $claims->() if ref $claims eq 'CODE';

    my $header_text = text($usual->{header}, $change{header},
                           $change{header_text});
    my $claims_text = text($usual->{payload}, $claims, $change{claims_text});
    my $key = exists $change{key} ? $change{key} : $usual->{key};
    my $token = sign($header_text, $claims_text, $key,
                     alg => $change{alg} // $usual->{header}{alg});

    return $change{token} ? $change{token}->($token, split /\./, $token)
                          : $token;
}

# An option: a member of "header" or "claims", a text or a number, has that
# JSON instead.
sub spelt {
    my ($where, $name, $json) = @_;

    return ("${where}_text" => sub {
        $_[0] =~ s/"$name":(?:"[^"]*"|\d+)/"$name":$json/r;
    });
}

# An option: that JSON comes first in "header" or "claims".
sub first {
    my ($where, $json) = @_;

    return ("${where}_text" => sub { $_[0] =~ s/\{/{$json,/r });
}

# JSON of the members, with those changes.
sub text {
    my ($members, $changes, $respell) = @_;

    my %members = (%$members, %{ $changes // {} });

    delete $members{$_} for grep { !defined $members{$_} } keys %members;

    my $text = json_encode(\%members);

    return $respell ? $respell->($text) : $text;
}

# Header, payload and key of a token that passes.
sub usual {
    my ($door, $type) = @_;

    return $Usual{"$door $type"} //= do {
        my ($token, $key) = $door eq 'gate' ? usual_grant($type)
                                            : usual_identity($type);
        +{ %{ decode($token) }, key => $key };
    };
}

sub usual_grant {
    my ($type) = @_;

    my $key = $type eq 'P-256' ? Test::Lockbox::Conf::signing_key()
                               : accepted($type);

    return ($World->grant(id => $GRANT_ID, life => $LIFE, live => 0,
                          key => $key), $key);
}

sub usual_identity {
    my ($type) = @_;

    my $token = $World->identity($type eq 'P-256' ? 'engineer' : 'customer',
                                 life => $LIFE);
    my $iss = decode($token)->{payload}{iss};

    return ($token, Test::Lockbox::Conf::issuer_key($iss));
}


1;
