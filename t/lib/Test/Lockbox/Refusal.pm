package Test::Lockbox::Refusal;

# What a refusal looks like: the closed list as it was promised, and checks of
# a response and its record against it.

use strict;
use warnings;

use Exporter qw(import);
use Test::More ();

use Test::Lockbox::Admin qw(records);

our @EXPORT = qw(%REFUSALS refused let_through recorded);

my @TITLES = (
    ambiguous_target  => 'Ambiguous target',
    override_header   => 'Overriding header',
    two_tokens        => 'Two tokens',
    no_token          => 'No token',
    malformed_token   => 'Malformed token',
    unknown_key       => 'Unknown key',
    bad_signature     => 'Bad signature',
    wrong_type        => 'Wrong type of token',
    wrong_issuer      => 'Wrong issuer',
    wrong_audience    => 'Wrong audience',
    not_yet_valid     => 'Not yet valid',
    expired           => 'Expired',
    too_long_lived    => 'Too long-lived',
    revoked           => 'Revoked',
    completed         => 'Completed',
    not_live          => 'Not live',
    wrong_tenant      => 'Wrong tenant',
    wrong_service     => 'Wrong service',
    wrong_method      => 'Wrong method',
    wrong_path        => 'Wrong path',
    wrong_label       => 'Wrong label',
    store_unavailable => 'Store unavailable',
    audit_unavailable => 'Audit unavailable',
    internal_error    => 'Internal error',
);

my %TITLE = @TITLES;

# By word: status, error code of RFC 6750, title.
our %REFUSALS = map { $_ => [ status_of($_), error_of($_), $TITLE{$_} ] }
                keys %TITLE;

sub status_of {
    my ($word) = @_;

    return 400 if $word =~ /^(?:ambiguous_target|override_header|two_tokens)$/;
    return 403 if $word =~ /^wrong_(?:tenant|service|method|path|label)$/;
    return 503 if $word =~ /_unavailable$|^internal_error$/;
    return 401;
}

sub error_of {
    my ($word) = @_;

    return undef if $word eq 'no_token';
    return { 400 => 'invalid_request', 401 => 'invalid_token',
             403 => 'insufficient_scope' }->{ status_of($word) };
}

# A refusal with that word, and all that belongs to it.  The problem's members
# besides the usual ones are "more", by default none.
sub refused {
    my ($response, $word, $name, @more) = @_;

    my ($status, $error, $title) = @{ $REFUSALS{$word} };
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
