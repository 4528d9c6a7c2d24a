package Test::Lockbox::Refusal;

# What a refusal looks like: the closed list as it was promised, and checks of
# a response and its record against it.

use strict;
use warnings;

use Exporter qw(import);
use Test::More ();

use Test::Lockbox::Admin qw(records);

our @EXPORT = qw(%REFUSALS refused let_through recorded judged arrivals
                 all_arrivals_allowed);

# By word: status, title, error code of RFC 6750.
our %REFUSALS = (
    ambiguous_target  => [ 400, 'Ambiguous target', 'invalid_request' ],
    override_header   => [ 400, 'Overriding header', 'invalid_request' ],
    two_tokens        => [ 400, 'Two tokens', 'invalid_request' ],
    no_token          => [ 401, 'No token' ],
    malformed_token   => [ 401, 'Malformed token', 'invalid_token' ],
    unknown_key       => [ 401, 'Unknown key', 'invalid_token' ],
    bad_signature     => [ 401, 'Bad signature', 'invalid_token' ],
    wrong_type        => [ 401, 'Wrong type of token', 'invalid_token' ],
    wrong_issuer      => [ 401, 'Wrong issuer', 'invalid_token' ],
    wrong_audience    => [ 401, 'Wrong audience', 'invalid_token' ],
    not_yet_valid     => [ 401, 'Not yet valid', 'invalid_token' ],
    expired           => [ 401, 'Expired', 'invalid_token' ],
    too_long_lived    => [ 401, 'Too long-lived', 'invalid_token' ],
    wrong_certificate => [ 401, 'Wrong certificate', 'invalid_token' ],
    revoked           => [ 401, 'Revoked', 'invalid_token' ],
    completed         => [ 401, 'Completed', 'invalid_token' ],
    not_live          => [ 401, 'Not live', 'invalid_token' ],
    wrong_tenant      => [ 403, 'Wrong tenant', 'insufficient_scope' ],
    wrong_service     => [ 403, 'Wrong service', 'insufficient_scope' ],
    wrong_method      => [ 403, 'Wrong method', 'insufficient_scope' ],
    wrong_path        => [ 403, 'Wrong path', 'insufficient_scope' ],
    wrong_label       => [ 403, 'Wrong label', 'insufficient_scope' ],
    store_unavailable => [ 503, 'Store unavailable' ],
    audit_unavailable => [ 503, 'Audit unavailable' ],
    internal_error    => [ 503, 'Internal error' ],
);

my %Arrived;


# A refusal with that word, and all that belongs to it.  The problem's members
# besides the usual ones are "more", by default none.
sub refused {
    my ($response, $word, $name, @more) = @_;

    my ($status, $title, $error) = @{ $REFUSALS{$word} };
    my $problem = eval { $response->json } // {};

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    Test::More::subtest("$name: $word" => sub {
        Test::More::is($response->status, $status, 'status');
        Test::More::is($response->header('www-authenticate'),
                       challenge($status, $error, $title), 'challenge');
        Test::More::is($response->header('content-type'),
                       'application/problem+json', 'content type');
        Test::More::is($response->header('cache-control'), 'no-store',
                       'not to be cached');
        Test::More::is($response->header('lockbox-expires'), undef,
                       'no word of an end');
        Test::More::is_deeply([ @$problem{qw(type title status code)} ],
            [ "urn:lockbox:problem:$word", $title, $status, $word ],
            'problem');
        Test::More::like($problem->{detail}, qr/\.\z/, 'its detail');
        Test::More::is_deeply(
            [ sort grep { !/^(?:type|title|status|code|detail)$/ }
                   keys %$problem ],
            [ sort @more ], 'further members');
    });
}

sub challenge {
    my ($status, $error, $title) = @_;

    return undef if $status == 503;
    return 'Bearer realm="lockbox"' unless $error;
    return qq{Bearer realm="lockbox", error="$error", }
           . qq{error_description="$title"};
}

# An answer that the upstream's echo made.
sub let_through {
    my ($response, $name) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    Test::More::is($response->status, 200, $name)
        or Test::More::diag($response->body);
}

# The reasons of the requests since the last call, in order.
sub recorded {
    my ($wanted, $name) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    Test::More::is_deeply(
        [ map { $_->{'event.reason'} }
          grep { $_->{'event.type'} eq 'end' } records() ],
        $wanted, $name);
}

# What the gate makes of a request: a word of the list, or "allow"; a number
# stands for nginx's own refusal, which the gate does not hear of.  It is on
# record as such, and what is refused does not get to the tenant API.
sub judged {
    my ($response, $want, $name) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    my $allowed = $want eq 'allow';

    if ($allowed) {
        let_through($response, $name);
    } elsif ($REFUSALS{$want}) {
        refused($response, $want, $name, help($want));
    } else {
        refused_by_nginx($response, $want, $name);
    }

    recorded([ $allowed || $REFUSALS{$want} ? $want : () ],
             "$name: on record");
    Test::More::is(arrivals(), $allowed ? 1 : 0,
                   "$name: " . ($allowed ? 'arrives' : 'nothing arrives'));
}

# Whoever has shown a genuine grant is helped.
sub help {
    my ($word) = @_;

    return qw(asked granted request)
        if $word =~ /^(?:not_yet_valid|expired|too_long_lived|wrong_audience
                         |revoked|completed|not_live)$/x
           || $REFUSALS{$word}[0] == 403;
    return;
}

# The status may be a pattern; HTTP/2 knows refusals without any.
sub refused_by_nginx {
    my ($response, $status, $name) = @_;

    Test::More::like($response->status // 0, qr/^(?:$status)$/,
                     "$name: nginx's own $status");
    Test::More::unlike($response->body, qr/lockbox|\{/,
                       "$name: nothing of the gate or the tenant API");
}

# How many connections the tenant API got since the last call.
sub arrivals {
    my $dir = $Test::Lockbox::Admin::World->testdir;
    my $before = $Arrived{$dir} // 0;

    $Arrived{$dir} = $Test::Lockbox::Admin::World->upstream_connections;

    return $Arrived{$dir} - $before;
}

# The last word of a test: even late, nobody came but who was allowed.
sub all_arrivals_allowed {
    my $world = $Test::Lockbox::Admin::World;
    my @allowed = grep { ($_->{'event.reason'} // '') eq 'allow' }
                  $world->audit;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    Test::More::is(scalar(() = $world->upstream_requests), @allowed,
                   'the tenant API saw what was allowed, and nothing else');
    Test::More::is($world->upstream_connections, @allowed,
                   'and no other connection');
}


1;
