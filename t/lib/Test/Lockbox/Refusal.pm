package Test::Lockbox::Refusal;

# What a refusal looks like: the closed list as it was promised, and checks of
# a response and its record against it.

use strict;
use warnings;

use Exporter qw(import);
use Test::More ();

use Test::Lockbox::Admin qw(records);

our @EXPORT = qw(%REFUSALS refused let_through recorded);

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


1;
